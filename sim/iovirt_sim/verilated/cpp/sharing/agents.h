// Devices that guests share, and the guests: what programs make of them, and their clock.
#pragma once

#include <memory>

#include "devices.h"
#include "sharing/nic.h"
#include "sharing/nic_guest.h"
#include "sharing/nvme.h"

// What an operation is about: its argument is {what 16, number 16}.
enum AgentOperation : u16 {
    AGENT_NVME = 1, AGENT_NVME_OPTIONS, AGENT_OWNER, AGENT_ISSUER, AGENT_MONITOR, AGENT_GUEST,
    AGENT_GUEST_OPTIONS, AGENT_GO, AGENT_SUBMIT, AGENT_FORGET, AGENT_REPORT, AGENT_WAIT,
    AGENT_POLL, AGENT_DISK_WRITE, AGENT_DISK_READ, AGENT_TRACE, AGENT_GIVE_UP, AGENT_ON_INTERRUPT,
    AGENT_NIC, AGENT_NIC_OPTIONS, AGENT_PEER, AGENT_NIC_GUEST, AGENT_NIC_GUEST_OPTIONS,
};

class Agents {
  public:
    Agents(Statistics& statistics, Settings& settings, Errors& errors, Events& events,
           Memory& memory, Devices& devices);

    std::function<void(Tlp&&)> send;

    // For the TLP streams.
    bool may_send(const Tlp& tlp) const {
        return !tlp.header.non_posted() || DeviceDma::of(tlp).has_tag_left();
    }
    void starting(Tlp& tlp) { DeviceDma::of(tlp).starting(tlp); }
    void sent(Tlp& tlp) { DeviceDma::of(tlp).sent(tlp); }
    bool completed(const Tlp& tlp);   // false: of nobody here

    // A register of a function was written.
    void written(unsigned function, unsigned bar, u64 offset, unsigned bytes);
    // A record of this index was read.
    void interrupted(unsigned index);

    GuestWorld& world() { return world_; }
    void step(u64 cycle) { timers_.step(cycle); }
    bool execute(const u64* op, u32 argument, u64 length, u32 number, u64 started);
    void reset();

    static std::string names(unsigned what);

  private:
    bool of_nic(unsigned what, unsigned number, const u64* op, u64 length);
    void make_nvme(unsigned number, const u64* op);
    void make_guest(unsigned number, const u64* op, u64 length);
    void set(u64* options, unsigned count, const u64* op, u64 length);
    void report(unsigned number, u64 what, u32 op);
    bool wait(const u64* op, u32 number, u64 started);
    bool poll(const u64* op, u32 number, u64 started);
    void disk(bool write, unsigned number, const u64* op, u64 length, u32 op_number);

    Settings& settings_;
    Errors& errors_;
    Events& events_;
    Memory& memory_;
    Devices& devices_;
    Timers timers_;
    Monitor monitor_;
    GuestWorld world_;
    std::map<unsigned, std::unique_ptr<Nvme>> nvme_;       // by number of the function
    std::map<unsigned, std::unique_ptr<Guest>> guests_;
    std::map<unsigned, std::unique_ptr<RingNic>> nics_;    // by number of the function
    std::map<unsigned, std::unique_ptr<NicGuest>> nic_guests_;
    std::multimap<unsigned, Guest*> by_index_;
};
