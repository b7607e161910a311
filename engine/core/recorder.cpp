#include "engine/core/recorder.h"

#include <utility>

namespace retort {
namespace {

thread_local Recorder* active_recorder = nullptr;

}  // namespace

Recorder::Recorder() : previous_(std::exchange(active_recorder, this)) {}

Recorder::~Recorder() { active_recorder = previous_; }

Recorder* Recorder::active() { return active_recorder; }

}  // namespace retort
