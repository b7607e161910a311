// Modules: things that own parameters and can name them. A model reads like its paper: named members, one forward, one
// visit() that yields parameters under the names they have in a checkpoint.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/tensor.h"

namespace retort {

/// How a tensor lies in a file, where that differs from memory. Only engine/io converts (see io/layout.h).
enum class FileLayout : std::uint8_t {
  same,
  conv,         ///< memory RSCK [r, s, c, k], file OIHW [k, c, r, s]
  linear,       ///< memory [in, out], file [out, in]
  linear_image  ///< as linear, and `in` counts an image: memory order h, w, c, file order c, h, w
};

/// A trainable tensor or a buffer (running statistics), with what a file needs to know of it.
struct Parameter {
  Tensor value;
  FileLayout layout = FileLayout::same;
  Shape image;          ///< linear_image only: [h, w, c]
  bool buffer = false;  ///< not trained, but saved
  bool frozen = false;  ///< stays bit for bit as it is, running statistics too (--freeze)
  std::string name;     ///< full dotted name, set by parameters()
};

class Module;

/// Walks the parameters of a module tree, building dotted names.
class Visitor {
 public:
  using Callback = std::function<void(const std::string& name, Parameter& parameter)>;
  explicit Visitor(Callback callback) : callback_(std::move(callback)) {}

  void operator()(std::string_view name, Parameter& parameter);
  void operator()(std::string_view name, Module& module);
  /// Skips an absent module.
  template <class M>
  void operator()(std::string_view name, std::optional<M>& module) {
    if (module) (*this)(name, *module);
  }
  template <class M>
  void operator()(std::string_view name, std::unique_ptr<M>& module) {
    if (module) (*this)(name, *module);
  }
  /// name.0, name.1, ...
  template <class M>
  void operator()(std::string_view name, std::vector<M>& modules) {
    for (std::size_t i = 0; i < modules.size(); ++i) (*this)(std::string(name) + "." + std::to_string(i), modules[i]);
  }

 private:
  Callback callback_;
  std::string prefix_;
};

class Module {
 public:
  virtual ~Module() = default;
  virtual void visit(Visitor& visitor) = 0;
};

/// All parameters and buffers in visiting order, under their checkpoint names; also stores the names in them.
std::vector<Parameter*> parameters(Module& module);

/// Moves all parameters and buffers to a device; integers (counters) stay on the CPU. Gradient slots are new: call it
/// before an optimizer takes the parameters.
void to_device(Module& module, Device device);

/// Where the module's parameters lie.
Device device_of(Module& module);

/// One layer as `summary` prints it.
struct LayerReport {
  std::string name;  ///< checkpoint name without ".weight"
  std::string kind;  ///< "Conv2d", "Linear", ...
  Shape output;      ///< NHWC or [n, features]
  std::int64_t parameters = 0;
  std::int64_t macs = 0;                     ///< multiply-adds for the whole batch
  std::shared_ptr<GradSlot> slot = nullptr;  ///< the output's, under a tape
};

/// Outputs of layers, by the names that LayerReport has.
using Taps = std::map<std::string, Tensor>;

class PreparedFilters;  // engine/ops/prepared_filters.h

/// What a forward pass needs besides its input.
struct ForwardContext {
  bool training = false;           ///< batch statistics and dropout are on
  Tensor dropout_key;              ///< dropout_key(seed, step << 16): another mask each step; needed in training
  int dropouts = 0;                ///< counted up by each dropout layer of the pass: another mask each layer
  std::optional<double> dropout;   ///< overrides every dropout probability
  std::optional<double> momentum;  ///< overrides every batch norm's momentum
  /// Of the rows of all ranks' batches, this one's: batch norm takes its statistics over all of them. Empty: its own.
  std::optional<double> batch_share;
  Tensor* auxiliary = nullptr;                 ///< receives an auxiliary head's logits, if asked for and there is one
  std::vector<LayerReport>* report = nullptr;  ///< receives one entry a layer
  Taps* taps = nullptr;                        ///< receives the outputs of the layers that are its keys
  PreparedFilters* filters = nullptr;          ///< of this network, in inference; may be null
};

/// A classifier: images in, logits out.
class Network : public Module {
 public:
  /// x [n, h, w, c] -> logits [n, classes]. Throws Error if the image is smaller than the network allows.
  virtual Tensor forward(const Tensor& x, ForwardContext& context) = 0;
  /// The smallest image side that the network takes.
  virtual std::int64_t min_image_size() const = 0;
};

}  // namespace retort
