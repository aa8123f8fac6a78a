#include <criterion/criterion.h>
Test(rcnn, placeholder) {
    cr_assert(1);
}
