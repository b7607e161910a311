// One process of a group on the simulator: says what it found, a line each. devices_test.sh starts several.
//   nccl_ranks calls            every call of the group
//   nccl_ranks steps eager|graph PARTS
//                               training steps of batches in PARTS parts, this rank's of them; then the weights' hash
//   nccl_ranks order            rank 1 makes another call than the others, which must be found
#include <cstring>
#include <iostream>
#include <string>

#include "engine/core/check.h"
#include "engine/core/graph.h"
#include "engine/distill/training_step.h"
#include "engine/group/group.h"
#include "engine/group/launch.h"
#include "engine/io/file.h"
#include "engine/ops/dropout.h"
#include "tests/case.h"
#include "tests/engine/small_training.h"

using namespace retort;

namespace {

void expect(bool holds, const std::string& what) { check(holds, "rank ", group().rank(), ": ", what); }

void calls() {
  Group& all = group();
  const int rank = all.rank(), size = all.size();
  expect(size == launch().processes && rank == launch().rank, "rank or size");
  expect(all.local_size() == size && all.threads() >= 1, "the machine's share");
  const std::string mine = rank == 1 ? std::string() : std::string(static_cast<std::size_t>(70000 * rank + 3), 'a');
  const std::vector<std::string> gathered = all.gather(mine);
  expect(std::ssize(gathered) == size && gathered[static_cast<std::size_t>(rank)] == mine && gathered[0] == "aaa",
         "gather");
  expect(all.any(rank == size - 1) && !all.any(false), "any");
  expect(all.broadcast_text(rank == 0 ? "said" : "not") == "said", "broadcast_text");
  std::vector<float> numbers(100000, static_cast<float>(rank));
  all.broadcast(std::as_writable_bytes(std::span(numbers)));
  expect(numbers.front() == 0 && numbers.back() == 0, "broadcast");
  all.broadcast({});
  const std::vector<Tensor> tensors = all.gather_tensors(rank == 0 ? Tensor() : Tensor::full({2, 3}, rank));
  expect(!tensors[0] && tensors[1].data<float>()[5] == 1, "gather_tensors");
  all.barrier();
  // A sum in a graph is made when the graph runs, every time.
  const std::int64_t n = 100001;
  const Tensor sum = Tensor::full({n}, rank + 1, DType::f32, Device::simt);
  const auto value = [&] { return sum.to(Device::cpu).data<float>()[n - 1]; };
  Graph graph(Device::simt);
  graph.capture([&] { all.all_reduce(sum); });
  expect(value() == static_cast<float>(rank + 1), "a captured sum ran at once");
  const auto all_ranks = static_cast<float>(size * (size + 1) / 2);
  graph.replay();
  expect(value() == all_ranks, "all_reduce");
  graph.replay();
  expect(value() == all_ranks * static_cast<float>(size), "all_reduce again");
  std::cout << "rank " << rank << " of " << size << ": every call\n";
}

void order() {
  const Tensor sum = Tensor::full({group().rank() + 1}, 1, DType::f32, Device::simt);
  group().all_reduce(sum);
}

void steps(bool capture, std::int64_t parts) {
  test::SmallNet network;
  to_device(network, Device::simt);
  Optimizer optimizer(parameters(network), {.kind = OptimizerKind::adamw, .max_norm = 0.5});
  StepSettings settings;
  settings.dropout = 0.3;
  settings.capture = capture;
  settings.parts = parts;
  TrainingStep step(network, optimizer, settings);
  const std::int64_t own = parts / group().size();
  for (std::uint64_t i = 0; i < 8; ++i) {
    const std::int64_t rows = i == 4 ? 3 : 7;  // the short one leaves the last part without rows
    const Tensor x = Tensor::from<float>({rows, 4, 4, 3}, test::uniform(rows * 48, i, -2, 2)),
                 labels = Tensor::from<std::int64_t>({rows}, test::integers<std::int64_t>(rows, i, 0, 1));
    std::vector<StepInputs> inputs;
    for (std::int64_t part = own * group().rank(); part < own * (group().rank() + 1); ++part) {
      const RowRange range = part_rows(rows, 7, parts, part);
      if (range.count == 0) continue;
      inputs.push_back({.x = x.rows(range.first, range.count),
                        .labels = labels.rows(range.first, range.count),
                        .dropout_key = dropout_key(7, static_cast<std::uint64_t>(part) << 48 | i << 16),
                        .whole = rows});
    }
    step.run(inputs, 0.05);
  }
  std::string bytes;
  for (const Parameter* parameter : parameters(network)) {
    const Tensor value = parameter->value.to(Device::cpu);
    bytes.append(static_cast<const char*>(value.raw()), value.bytes());
  }
  std::cout << step.replays() << " replays, weights "
            << content_hash({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}) << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  try {
    join_group();
    join_devices(Device::simt);
    if (what == "calls") calls();
    if (what == "steps") steps(std::string(argv[2]) == "graph", std::stoi(argv[3]));
    if (what == "order") order();
    leave_group();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "rank " << launch().rank << ": " << error.what() << "\n";
    group().abort(1);
  }
}
