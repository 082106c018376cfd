/* peak FILE COMMAND...: runs the command, as its exit status says, and writes the most memory that it held, in KiB, to FILE.  */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct rusage use;
    int status;
    pid_t pid = argc > 2 ? fork() : -1;
    if (pid < 0)
        return 99;
    if (!pid) {
        execvp(argv[2], argv + 2);
        _exit(99);
    }
    if (wait4(pid, &status, 0, &use) != pid || !WIFEXITED(status))
        return 99;
    FILE *f = fopen(argv[1], "w");
    if (!f || fprintf(f, "%ld\n", use.ru_maxrss) < 0 || fclose(f))
        return 99;
    return WEXITSTATUS(status);
}
