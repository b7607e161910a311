// What compute capability 9.0 adds to a block: mbarriers, bulk tensor copies, products of warpgroups, registers that
// warps hand to each other. Internal to the simulator.
//
// All of it is as late as the waits allow: a load lands when no thread can run, a store reads its source when the
// issuing thread waits for that, a product reads its operands and writes its sums when the warp waits for it. Until
// then what they read and write is closed to everyone else, and whoever touches it is told what was under way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/simt/block.h"
#include "kernels/simt/tensor_map.h"

namespace retort::simt {

/// wgmma's operands: bf16 in shared memory, A [64, 16] and B [16, n].
struct Product {
  int n = 0;
  std::uint64_t a = 0, b = 0;  ///< descriptors
  bool a_along_m = false, b_along_n = false;
  Where where;
  bool operator==(const Product& other) const {
    return n == other.n && a == other.a && b == other.b && a_along_m == other.a_along_m && b_along_n == other.b_along_n;
  }
};

class Hopper {
 public:
  explicit Hopper(Block& block) : block_(block) {}
  /// A block begins. Nothing is watched until it uses something of this.
  void start_block(unsigned threads);
  bool used() const { return used_; }

  // What the running thread does.
  void barrier_init(std::uint64_t* barrier, unsigned count, Where where, const void* from);
  void barrier_fence();
  /// bytes: what the copies of the phase will bring, beside the arrival.
  void barrier_arrive(std::uint64_t* barrier, std::uint32_t bytes, Where where);
  void barrier_wait(std::uint64_t* barrier, unsigned parity, Where where);
  void proxy_fence() { ++fences_[block_.running_]; }
  void load(void* target, const TensorMap& map, std::uint64_t* barrier, const BoxPlace& place, bool im2col, Where where,
            const void* from);
  void store(const TensorMap& map, const void* source, const BoxPlace& place, Where where, const void* from);
  void commit_stores() { ++store_groups_[block_.running_]; }
  void wait_stores_read(unsigned pending);
  void product_fence();
  /// sums: of this thread, n / 2.
  void product(const Product& product, float* sums);
  void commit_products() { ++product_groups_[block_.running_]; }
  void wait_products(unsigned pending, Where where);
  void set_registers(unsigned count, bool more, Where where);

  /// An ordinary access of the running thread to shared memory, already checked for races.
  void touch_shared(std::size_t offset, std::size_t bytes, AccessKind kind, CodePlace place);
  /// An ordinary access to the running thread's own memory, which may be sums of a product.
  void touch_own(std::uintptr_t address, std::size_t bytes, AccessKind kind, CodePlace place);
  /// Lands one load, drawn by chance; false if none is under way.
  bool land_one();
  /// The running thread returns.
  void finish_thread();
  /// All threads have returned: what is left to say, or an empty string.
  std::string finish_block() const;
  /// What a deadlock's description adds: the barriers' states, and registers that are waited for.
  std::string describe() const;

 private:
  struct Barrier {
    unsigned count = 0, pending = 0, phase = 0;
    std::int64_t missing = 0;  ///< bytes
    bool fenced = false;
    unsigned thread = 0;  ///< that initialised it
    Where last;           ///< arrival
    Clock clock{}, completed{};
    std::vector<unsigned> waiting;
  };
  struct Load {
    std::uint32_t barrier;
    unsigned phase, thread;
    std::uint32_t target;
    TensorMap map;
    BoxPlace place;
    Where where;
    CodePlace code;
  };
  struct Store {
    unsigned thread, group;
    std::uint32_t source;
    TensorMap map;
    BoxPlace place;
    Where where;
    CodePlace code;
    bool read = false;
    std::vector<std::byte> bytes;  ///< once read
  };
  struct WarpProduct {
    Product product;
    unsigned group;
    float* sums[kLanes];
  };
  /// The sums of a product in one thread's memory.
  struct Sums {
    std::uintptr_t begin, end;
    unsigned in_flight;         ///< products that have not been waited for
    bool touched;               ///< by ordinary accesses, since the last product_fence
    Where where;                ///< of the last product
    std::vector<float> values;  ///< while in flight
  };
  /// Four bytes of shared memory: who wrote them by an ordinary store, and how many proxy fences it had passed.
  struct Written {
    std::uint32_t fences = 0;
    CodePlace place = 0;
    std::uint16_t thread = 0;  ///< + 1; 0: nobody
  };
  /// Sixteen bytes of shared memory.
  struct Chunk {
    std::uint16_t readers = 0;  ///< stores and products under way
    std::uint8_t barriers = 0;  ///< bit i: a barrier in its half i
    bool landing = false;       ///< a load under way writes it
  };
  struct RegisterChange {
    unsigned count;
    bool more;
  };

  void use();
  Barrier& barrier_at(std::uint64_t* barrier, const char* what, Where where, std::uint32_t* offset = nullptr);
  void settle(Barrier& barrier);
  std::string describe(std::uint32_t offset, const Barrier& barrier) const;
  std::uint32_t shared_range(const void* pointer, std::size_t bytes, const char* what, std::size_t alignment);
  void check_map_of(const TensorMap& map, const char* what, Where where);
  /// The asynchronous proxy will read these bytes: nothing may be on its way to them, and stores must be fenced.
  void begin_read(std::size_t offset, std::size_t bytes, const std::string& what);
  void end_read(std::size_t offset, std::size_t bytes);
  /// "the product at x.cu:12 of thread (128,0,0)", whatever reads the chunk.
  std::string reader_of(std::size_t chunk) const;
  /// "the bulk load x.cu:12 ... has not been waited for", whatever writes the chunk.
  std::string load_into(std::size_t chunk) const;
  std::string too_few_bytes(const Load& load, const Barrier& barrier) const;
  std::string thread_name(unsigned id) const;
  void read_source(Store& store);
  void write_target(const Store& store);
  void land(const Load& load);
  /// Stops the block from outside of its threads.
  void stop(unsigned thread, const std::string& what, Where where);
  void compute(unsigned warp, const WarpProduct& work);
  /// Adds a warp's part of a product to the lanes' sums.
  void multiply(unsigned warp, const Product& product, Sums* const (&of_lane)[kLanes]);
  Sums& sums_at(unsigned thread, const float* begin, int count, Where where);
  /// chunk(offset) for each 16 bytes that the warp reads for a product.
  template <class F>
  void each_chunk(unsigned warp, const Product& product, const F& chunk) const;
  bool grant(unsigned warp, unsigned count);
  static void complete_registers(Block& block, unsigned warp, Rendezvous& met);
  static void complete_product(Block& block, unsigned warp, Rendezvous& met);
  static void complete_wait(Block& block, unsigned warp, Rendezvous& met);
  void issue(unsigned warp, Rendezvous& met);
  void wait_products_of(unsigned warp, Rendezvous& met);

  Block& block_;
  bool used_ = false;
  unsigned threads_ = 0;
  std::map<std::uint32_t, Barrier> barriers_;  ///< by byte of shared memory
  std::vector<Load> loads_;
  std::vector<Store> stores_;
  std::vector<WarpProduct> products_[kMaxWarps];
  std::vector<Product> issued_[kMaxWarps / 4];  ///< of a warpgroup, by whichever of its warps comes first
  std::size_t issues_[kMaxWarps] = {};
  std::vector<std::vector<Sums>> sums_;  ///< of each thread
  std::vector<bool> product_fenced_;
  std::vector<unsigned> store_groups_, product_groups_;
  std::vector<std::uint32_t> fences_;
  std::vector<Written> written_;
  std::vector<Chunk> chunks_;
  unsigned registers_[kMaxWarps] = {}, wanted_[kMaxWarps] = {};
  unsigned register_pool_ = 0;
  std::vector<unsigned> register_waiters_;
};

}  // namespace retort::simt
