/* What i-RevNet's block refuses.  Its reference vectors are in check_reference_images.c.  */
#include <check.h>
#include <string.h>

#include <diffeo/real.h>
#include "layerfix.h"
#include "util.h"

/* Zeros appended to the channels: refused, with the reason.  */
START_TEST(injective)
{
    char text[512];
    ck_assert_int_eq(layerfix_try("{\"type\":\"irevnet\",\"channels\":16}", (dfo_shape){6, 4, 4}, text, sizeof text),
                     DFO_EARG);
    ck_assert_msg(strstr(text, "16 in a half instead of 3 would need zeros for padding: such a map is injective, not "
                               "bijective, and has no density") != NULL, "%s", text);
    ck_assert_int_eq(layerfix_try("{\"type\":\"irevnet\",\"channels\":12,\"stride\":2}", (dfo_shape){6, 4, 4}, text,
                                  sizeof text), DFO_OK);
    ck_assert_int_eq(layerfix_try("{\"type\":\"irevnet\",\"net\":{\"type\":\"mlp\"}}", (dfo_shape){6, 4, 4}, text,
                                  sizeof text), DFO_EARG);
    ck_assert_int_eq(layerfix_try("{\"type\":\"irevnet\"}", (dfo_shape){3, 4, 4}, text, sizeof text), DFO_ESHAPE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("i-RevNet's block (" DFO_REAL_NAME ")");
    TCase *tests = tcase_create("block");
    tcase_add_test(tests, injective);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
