/* The readers, in the order in which they are asked.  */
#include "data/source_impl.h"

const dfoi_reader *const dfoi_readers[] = {
    &dfoi_reader_toy,
    &dfoi_reader_npy,
    &dfoi_reader_png,
    &dfoi_reader_idx,
    &dfoi_reader_cifar,
    &dfoi_reader_csv,                        /* last: also any other text */
    NULL,
};
