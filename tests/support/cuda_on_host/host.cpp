// Runs the threads of a block: contexts that hand over to each other wherever CUDA's wait for each other.
#include "host.h"
#include <ucontext.h>
#include <vector>

dim3 threadIdx, blockIdx, blockDim = {1, 1, 1}, gridDim = {1, 1, 1};

namespace host {
struct thread { ucontext_t context; std::vector<char> stack; bool done; long waited; };
static std::vector<thread> threads;
static ucontext_t scheduler;
size_t current;
static std::vector<double> places;
double *shuffled;
void (*body)(void *);
void *arguments;

static void start() { body(arguments); threads[current].done = true; }

static void wait() {
    threads[current].waited++;
    swapcontext(&threads[current].context, &scheduler);
}

// Run a block; false if some of its threads wait while others have ended, which would hang a GPU.
bool run_block() {
    const size_t count = blockDim.x;
    threads.resize(count);
    places.resize(count);
    shuffled = places.data();
    for (size_t t = 0; t < count; t++) {
        threads[t].stack.resize(1 << 16);
        threads[t].done = false;
        threads[t].waited = 0;
        getcontext(&threads[t].context);
        threads[t].context.uc_stack.ss_sp = threads[t].stack.data();
        threads[t].context.uc_stack.ss_size = threads[t].stack.size();
        threads[t].context.uc_link = &scheduler;
        makecontext(&threads[t].context, start, 0);
    }
    for (;;) {
        size_t ended = 0;
        for (current = 0; current < count; current++) {
            threadIdx = {(unsigned)current, 0, 0};
            swapcontext(&scheduler, &threads[current].context);
            ended += threads[current].done;
        }
        if (ended == count) break;
        if (ended) return false;
    }
    for (size_t t = 1; t < count; t++)
        if (threads[t].waited != threads[0].waited) return false;
    return true;
}

void sync() {
    const dim3 own = threadIdx;
    wait();
    threadIdx = own;
}
}  // namespace host
