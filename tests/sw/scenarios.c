/* Run one scenario. */
#include "scenarios.h"

#include <stdio.h>
#include <string.h>

#include "consumer.h"

static const struct {
    const char *name;
    void (*run)(void);
} scenarios[] = {
    {"overflow", overflow}, {"sleeper", sleeper}, {"once", once}, {"moderation", moderation},
    {"migration", migration}, {"storm", storm}, {"drain", drain}, {"drop", drop},
    {"wire", wire}, {"sources", sources_of_all_kinds}, {"forgery", forgery},
    {"failure", failure},
};

/* Arguments: scenario, seed, and the model of the hardware unless that is compiled in. */
int main(int count, char **arguments)
{
    unsigned seed = 1;

    if (count < 3 || sscanf(arguments[2], "%u", &seed) != 1) {
        for (unsigned n = 0; n < sizeof scenarios / sizeof *scenarios; ++n)
            printf("%s\n", scenarios[n].name);
        return 0;
    }
    random_seed(seed);
    world_open(count > 3 ? arguments[3] : NULL, seed);
    world_slow(10 + random_below(40), random_below(80));
    set_up();
    for (unsigned n = 0; n < sizeof scenarios / sizeof *scenarios; ++n)
        if (!strcmp(arguments[1], scenarios[n].name)) {
            scenarios[n].run();
            printf("clocks %llu\n", (unsigned long long)world_clocks());
            world_close();
            return 0;
        }
    fail("no scenario %s", arguments[1]);
}
