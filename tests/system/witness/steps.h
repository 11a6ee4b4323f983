// A look at the stack after each instruction: from everywhere a handler must find its way back.
#pragma once
#include "witness.h"

#include <execinfo.h>
#include <stdbool.h>
#include <ucontext.h>

enum { TRAP_FLAG = 0x100 };
static volatile bool steps_are_over;
static volatile long steps, steps_lost;
static void *steps_from; // an address in the function that begins them

static __attribute__((noinline)) void on_step(int number, siginfo_t *unused, void *interrupted)
{
    (void)unused;
    greg_t *registers = ((ucontext_t *)interrupted)->uc_mcontext.gregs;
    registers[REG_EFL] |= TRAP_FLAG;
    if (steps_are_over)
        registers[REG_EFL] &= ~TRAP_FLAG;
    if (number != SIGTRAP)
        return;
    void *stack[64];
    int depth = backtrace(stack, 64), found = 0;
    for (int i = 2; i < depth; i++) // the first is here, the second the way back
        found |= labs((char *)stack[i] - (char *)steps_from) < 1024;
    steps++;
    if (!found && !steps_lost++)
        fprintf(stderr, "lost at %p\n", (void *)registers[REG_RIP]);
}

__attribute__((unused)) static void begin_steps(void *from)
{
    void *warm[4];
    backtrace(warm, 4);
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGTRAP, &action, NULL));
    CHECK(sigaction(SIGUSR1, &action, NULL));
    steps_from = from;
    raise(SIGUSR1);
}

__attribute__((unused)) static void end_steps(void)
{
    steps_are_over = true;
}
