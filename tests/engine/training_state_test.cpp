// The training state refuses a run with other settings, whichever of the two runs has a flag that the other lacks.
#include "engine/distill/training_state.h"

#include <doctest/doctest.h>

#include "engine/core/check.h"
#include "tests/engine/small_training.h"

namespace retort::test {
namespace {

/// What is said when a state of one fingerprint is asked for with another; empty: it loads.
std::string refusal(const Fingerprint& saved, const Fingerprint& now) {
  const Scratch scratch;
  SmallNet network;
  Optimizer optimizer(parameters(network), {});
  save_training_state(scratch / "state", network, optimizer, {}, saved);
  try {
    load_training_state(scratch / "state", network, optimizer, now);
  } catch (const Error& error) {
    const std::string message = error.what();
    return message.substr(message.find(": ") + 2);  // after the file's name
  }
  return {};
}

}  // namespace

TEST_CASE("training state: a run goes on under the same settings only") {
  CHECK(refusal({{"--lr", "0.1"}}, {{"--lr", "0.1"}}).empty());
  CHECK(refusal({{"--lr", "0.1"}}, {{"--lr", "0.2"}}) ==
        "the run was started with --lr '0.1', not '0.2'; give the same flags, or another --out");
  CHECK(refusal({}, {{"--ema", "0.9"}}) ==
        "the run was started with --ema '', not '0.9'; give the same flags, or another --out");
  CHECK(refusal({{"--ema", "0.9"}}, {}) ==
        "the run was started with --ema '0.9', not ''; give the same flags, or another --out");
  CHECK(refusal({{"--ema", ""}}, {}).empty());  // as a run that knows no such flag
}

}  // namespace retort::test
