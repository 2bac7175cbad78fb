// What agents want to do later. Nothing is spent on a clock in which none of them is due.
#pragma once

#include <functional>
#include <map>

#include "common.h"

class Timers {
  public:
    u64 now = 0;

    void at(u64 cycle, std::function<void()> action) { due_.emplace(cycle, std::move(action)); }
    void in(u64 clocks, std::function<void()> action) { at(now + clocks, std::move(action)); }
    void step(u64 cycle) {
        now = cycle;
        while (!due_.empty() && due_.begin()->first <= cycle) {
            auto action = std::move(due_.begin()->second);
            due_.erase(due_.begin());
            action();
        }
    }
    void clear() { due_.clear(); }

  private:
    std::multimap<u64, std::function<void()>> due_;
};
