/* The contract of a layer, run over every type in the registry, in float and in double: see
 * contract.h.  A type without a row in contract_rows.c fails.  */
#include <check.h>

#include "contract.h"

START_TEST(every_type)
{
    for (size_t i = 0; i < dfo_bijector_types(); i++)
        ck_assert_msg(contract_row(dfo_bijector_type(i)) != NULL, "contract_rows.c has no row for %s",
                      dfo_bijector_type(i));
    for (size_t i = 0; i < contract_rows_count; i++)
        ck_assert_msg(dfo_bijector_ops_named(contract_rows[i].type) != NULL, "there is no layer %s",
                      contract_rows[i].type);
    ck_assert_ptr_null(dfo_bijector_type(dfo_bijector_types()));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("contract of a layer (" DFO_REAL_NAME ")");
    TCase *table = tcase_create("table");
    tcase_add_test(table, every_type);
    suite_add_tcase(suite, table);
    contract_maps(suite);
    contract_grads(suite);
    contract_plans(suite);
    contract_making(suite);
    return test_run(suite);
}
