/*
 * Checking what kernels do, launch by launch: what `backend.check = yes` is, and what looks for the origin of a NaN.
 *
 * A checked device runs each launch by itself, on copies of its tensors that lie between guard bytes. It costs several
 * times as much as an unchecked one, and gives the same bits.
 */
#ifndef CVR_CHECK_H
#define CVR_CHECK_H

#include <cvr/program.h>

#pragma GCC visibility push(default)

/* Guard bytes around every tensor and workspace, inputs compared before and after, outputs and workspace that start as
 * a pattern of which nothing may be left, descriptors of tensors compared, results in place held against others. */
#define CVR_CHECK_MEMORY 1u
/* A NaN in a result where no input has one is an error that names the node: the first that made one. */
#define CVR_CHECK_NAN 2u
/* Besides, on backends whose memory is the host's: between pages that nobody may touch, with inputs that nobody may
 * write. What reads or writes out of bounds dies by a signal. Together with CVR_CHECK_MEMORY. */
#define CVR_CHECK_PAGES 4u

/* From here on programs that are bound on the device are checked. A program that is bound already has to be bound
 * again. `plugins` outlives the device. */
int32_t cvr_check_device(cvr_device *d, cvr_plugins *plugins, uint32_t what, cvr_error *err);
/* The end of it; before it, or after, programs have to be bound again. */
void cvr_uncheck_device(cvr_device *d);

#pragma GCC visibility pop
#endif
