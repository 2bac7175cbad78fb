/* Of the driver's own files only. */
#ifndef IOVIRT_INTERNAL_H
#define IOVIRT_INTERNAL_H

#include "iovirt_platform.h"

/* The C header that `iovirt gen` writes; any configuration with the parts that are used will do. */
#ifndef IOVIRT_REGISTERS
#define IOVIRT_REGISTERS "iovirt_registers.h"
#endif
#include IOVIRT_REGISTERS

/* Value of a field in a register, and a register with only that field. */
#define FIELD(value, name) (((value) & IOVIRT__##name##_bm) >> IOVIRT__##name##_bp)
#define PLACE(value, name) (((uint64_t)(value) << IOVIRT__##name##_bp) & IOVIRT__##name##_bm)

/* Counts are modulo 2^32. */
static inline bool reached(uint32_t now, uint32_t count)
{
    return (int32_t)(now - count) >= 0;
}

#endif /* IOVIRT_INTERNAL_H */
