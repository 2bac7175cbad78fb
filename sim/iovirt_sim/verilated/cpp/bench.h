// Everything around the model, and the interpreter of programs.
#pragma once

#include <memory>

#include "axil.h"
#include "ports.h"
#include "transfers.h"
#ifdef IOVIRT_HAS_REQUEST
#include "remap.h"
#endif
#if defined(IOVIRT_VCD)
#include "verilated_vcd_c.h"
using Waves = VerilatedVcdC;
#elif defined(IOVIRT_FST)
#include "verilated_fst_c.h"
using Waves = VerilatedFstC;
#endif

// The first word of an operation: {opcode 8, words 24, argument 32}.
enum Opcode : u8 {
    OP_RESET = 1, OP_RUN, OP_MEMORY_WRITE, OP_MEMORY_READ, OP_MEMORY_CLEAR, OP_BACKGROUND, OP_FAIL,
    OP_CSR_WRITE, OP_CSR_READ, OP_CSR_POLL, OP_TRANSLATE, OP_DMA, OP_TLP, OP_WAIT, OP_COMMAND_RING,
    OP_COMMAND, OP_COMMAND_WAIT, OP_SET, OP_ALLOW, OP_CLASSIFY, OP_FORGET, OP_MARK, OP_TABLE_WRITES,
};

class Bench {
  public:
    explicit Bench(const char* waves);
    ~Bench();

    // Executes `count` words. Returns the number of errors seen since the last call to `clear`.
    u64 run(const u64* program, u64 count);

    Settings settings;
    Statistics statistics;
    Errors errors;
    Events events;

  private:
    void cycle();
    void reset(u64 clocks);
    bool execute(const u64* op, u32 argument, u64 length);   // false: not finished, try again
    bool dma(const u64* op, u32 argument, u64 length);
    bool tlp(const u64* op, u32 argument, u64 length);
    bool translate(const u64* op, u32 argument);
    bool csr(const u64* op, u32 argument, bool write);
    bool poll(const u64* op, u32 argument);
    bool command(const u64* op);
    bool command_wait(const u64* op, u32 argument);
    bool wait(const u64* op, u32 argument);
    bool stuck(u64 limit);
    u64 progress() const;
    u64 outstanding() const;

    VerilatedContext context_;
    Model model_;
    Random random_;
    Memory memory_;
    Walks walks_;
    Transfers transfers_;
    AxiSubordinate<TablePort> table_;
    AxiLiteManager<CsrPort> csr_;
#ifdef IOVIRT_HAS_DMA
    AxiSubordinate<DmaPort> dma_;
#endif
#ifdef IOVIRT_HAS_RX
    TlpSource<RxPort> source_;
    TlpSink<TxPort> sink_;
#endif
#ifdef IOVIRT_HAS_REQUEST
    RemapDriver remap_;
#endif
#if defined(IOVIRT_VCD) || defined(IOVIRT_FST)
    std::unique_ptr<Waves> waves_;
#endif
    u64 now_ = 0;
    u32 op_ = 0;
    // Of the operation under way.
    unsigned step_ = 0;
    u64 started_ = 0, last_progress_ = 0, progress_at_ = 0;
    // Command queue.
    u64 ring_ = 0, tail_ = 0, head_ = 0, entries_ = 0;
};
