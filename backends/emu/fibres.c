/*
 * See fibres.h. On x86-64 a switch is a dozen instructions of our own: the registers that a call keeps, by the System V
 * ABI, go to the stack that is left. Elsewhere it is swapcontext, which asks the kernel each time.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, MAP_STACK */
#include "fibres.h"
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK ((size_t)1 << 17)
#define PAGE ((size_t)1 << 14) /* as large as pages are anywhere */

typedef struct fibre {
#if defined(__x86_64__)
    void *stack_pointer;
#else
    ucontext_t context;
#endif
    void *fake_stack; /* the address sanitizer's */
    int done;
} fibre;

struct fibres {
    const cvr_host *host;
    fibre_body body;
    void *ctx;
    char *stacks;
    const void *main_stack; /* the address sanitizer asks for it */
    size_t main_size;
    uint32_t n, current;
    fibre main;
    fibre all[];
};

/* Where a fibre finds its set: there is one in a thread at a time. */
static _Thread_local fibres *starting;

/* ---- switching ---- */

#if defined(__x86_64__)
/* fibre_swap(&from, to): keeps what a call keeps on this stack, and goes on where `to` was left. */
void fibre_swap(void **from, void *to);
__asm__(".text\n"
        ".local fibre_swap\n"
        ".type fibre_swap, @function\n"
        "fibre_swap:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size fibre_swap, . - fibre_swap\n");
#endif

static void swap(fibre *from, fibre *to, const void *stack, size_t size) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from->fake_stack, stack, size);
#else
    (void)stack, (void)size;
#endif
#if defined(__x86_64__)
    fibre_swap(&from->stack_pointer, to->stack_pointer);
#else
    (void)swapcontext(&from->context, &to->context);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

static char *stack_of(const fibres *f, uint32_t i) {
    return f->stacks + i * (STACK + PAGE) + PAGE;
}

int fibre_resume(fibres *f, uint32_t i) {
    f->current = i;
    f->all[i].done = 0;
    starting = f;
    swap(&f->main, &f->all[i], stack_of(f, i), STACK);
    return f->all[i].done;
}

void fibre_wait(fibres *f) {
    swap(&f->all[f->current], &f->main, f->main_stack, f->main_size);
}

/* ---- life ---- */

/* The first frame of each. */
static void begin(void) {
    fibres *f = starting;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, &f->main_stack, &f->main_size);
#endif
    for (;;) {
        const uint32_t i = f->current;
        f->body(f->ctx, i);
        f->all[i].done = 1;
        fibre_wait(f);
    }
}

static void prepare(fibres *f, uint32_t i) {
#if defined(__x86_64__)
    /* Six registers, the address to return to, and one word, so that the stack is aligned as after a call. */
    uintptr_t *top = (uintptr_t *)(void *)(stack_of(f, i) + STACK) - 8;
    memset(top, 0, 8 * sizeof *top);
    top[6] = (uintptr_t)begin;
    f->all[i].stack_pointer = top;
#else
    (void)getcontext(&f->all[i].context);
    f->all[i].context.uc_stack.ss_sp = stack_of(f, i);
    f->all[i].context.uc_stack.ss_size = STACK;
    f->all[i].context.uc_link = NULL;
    makecontext(&f->all[i].context, begin, 0);
#endif
}

int32_t fibres_create(fibres **out, const cvr_host *host, uint32_t n, fibre_body body, void *ctx, cvr_error *err) {
    fibres *f = (fibres *)host->alloc(host, sizeof *f + n * sizeof(fibre), 64);
    if (!f) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(f, 0, sizeof *f + n * sizeof(fibre));
    f->host = host;
    f->body = body;
    f->ctx = ctx;
    f->n = n;
    void *map = mmap(NULL, n * (STACK + PAGE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (map == MAP_FAILED) {
        host->free(host, f);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory: no stacks for %u fibres", n);
    }
    f->stacks = (char *)map;
    for (uint32_t i = 0; i < n; i++) {
        (void)mprotect(stack_of(f, i) - PAGE, PAGE, PROT_NONE);
        prepare(f, i);
    }
    *out = f;
    return CVR_OK;
}

void fibres_destroy(fibres **f) {
    if (!*f) return;
    (void)munmap((*f)->stacks, (*f)->n * (STACK + PAGE));
    (*f)->host->free((*f)->host, *f);
    *f = NULL;
}
