/* Replays a target's corpus without a fuzzer: every file of tests/fuzz/corpus/TARGET (or of the files
 * and folders given), whole, cut short at every eighth, and with single bytes changed.  */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz/fuzz.h"

static size_t replayed;

/* In memory of exactly its size, so that a sanitizer sees every byte read beyond.  */
static void one(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    FUZZ_ASSERT(copy != NULL);
    if (n)
        memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    replayed++;
}

static void file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    uint8_t *bytes = malloc(1 << 20);
    FUZZ_ASSERT(bytes != NULL);
    size_t n = fread(bytes, 1, 1 << 20, f);
    fclose(f);
    one(bytes, n);
    for (size_t k = 1; k < 8 && n >= 8; k++)
        one(bytes, n * k / 8);
    static const uint8_t other[] = {0x00, 0x01, 0x7f, 0x80, 0xff, '0', '-', '"', '{', '\n'};
    uint64_t state = 1;
    for (size_t k = 0; k < 64 && n; k++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        size_t at = (size_t)((state >> 33) % n);
        uint8_t old = bytes[at];
        bytes[at] = other[k % sizeof other];
        one(bytes, n);
        bytes[at] = old;
    }
    free(bytes);
}

static void any(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        struct dirent **entry;
        int n = scandir(path, &entry, NULL, alphasort);
        for (int i = 0; i < n; i++) {
            char name[4096];
            snprintf(name, sizeof name, "%s/%s", path, entry[i]->d_name);
            if (entry[i]->d_name[0] != '.')
                file(name);
            free(entry[i]);
        }
        if (n >= 0)
            free(entry);
    } else {
        file(path);
    }
}

int main(int argc, char **argv)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/fuzz/corpus/%s", DFOI_TESTS_DIR, program_invocation_short_name);
    if (argc < 2)
        any(path);
    for (int i = 1; i < argc; i++)
        any(argv[i]);
    printf("%zu inputs replayed\n", replayed);
    return replayed ? 0 : 1;
}
