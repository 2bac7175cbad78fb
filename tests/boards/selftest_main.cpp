// Clock the self-test until it has passed or failed, and say what it did.
// Usage: selftest CLOCKS SPOIL
#include <cstdio>
#include <cstdlib>

#include "Vmodel.h"
#include "verilated.h"

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    const long limit = std::atol(argv[1]);
    VerilatedContext context;
    Vmodel model{&context};
    long ran = 0, clock = 0;
    model.spoil = std::atoi(argv[2]);
    for (; clock < limit && !model.passed && !model.failed; clock++) {
        model.rst = clock < 2;
        model.clk = 0;
        model.eval();
        model.clk = 1;
        model.eval();
        ran += model.running;
    }
    std::printf("passed %d failed %d causes %d running %ld clocks %ld\n", model.passed,
                model.failed, model.causes, ran, clock);
    model.final();
    return 0;
}
