// Architectures by name, and models as files: what a .safetensors of Retort says about itself.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/data/transform.h"
#include "engine/io/safetensors.h"
#include "engine/nn/module.h"

namespace retort {

/// The greatest image size that a flag or a model file may ask for.
inline constexpr std::int64_t kMaxImageSize = 1 << 15;

/// The architecture of networks whose nodes stand in their file.
inline constexpr const char* kGraph = "graph";

/// All that is needed to build a network; stored in a model file's metadata.
struct ModelSpec {
  std::string architecture;          ///< "resnet50", "mlp:800x800", ..., or kGraph
  std::string graph;                 ///< of a kGraph: its nodes (models/graph/spec.h)
  std::string head;                  ///< layers in place of the last one (models/head.h); may be empty
  std::vector<std::string> classes;  ///< names in logit order
  Preprocessing preprocessing;
  bool auxiliary = false;                    ///< InceptionV3's auxiliary head
  std::map<std::string, std::string> notes;  ///< further metadata: temperature, lambda, teacher hash
};

/// True for a name that make_network knows by itself: neither a file's path nor kGraph.
bool is_architecture(const std::string& name);
/// All but the mlps, whose names are made of widths.
std::vector<std::string> architecture_names();
/// What is said of a name that is none: the nearest one, and the list.
std::string no_architecture(const std::string& name);
/// The network's own input. Size: 299 for inception_v3, 224 for vgg and resnet, the data's for CIFAR forms (32 where
/// native_size is 0) and for an mlp (0 where it is 0: make_network refuses that). Mean and std: 0.5 for inception_v3,
/// ImageNet's otherwise. An mlp keeps the data's channels, others take 3. Throws UsageError as make_network does.
Preprocessing default_preprocessing(const std::string& architecture, std::int64_t native_size,
                                    std::int64_t native_channels);
/// A lower bound on the number of a network's parameters, for what must not be built before a file is known to hold it:
/// exact for an mlp, whose name may ask for any size, VGG's large layers, and a head's least for all.
double least_parameters(const ModelSpec& spec);
/// Builds the network with fresh weights drawn from seed; of a kGraph, the last layer gives as many values as there are
/// classes. Throws UsageError for an unknown architecture (naming the
/// known ones) and for an auxiliary head elsewhere than in inception_v3; Error for an image too small, and without
/// classes.
std::unique_ptr<Network> make_network(const ModelSpec& spec, std::uint64_t seed);
/// The same for weights from a file: all zero, and nothing is drawn.
std::unique_ptr<Network> make_empty_network(const ModelSpec& spec);

struct Model {
  ModelSpec spec;
  std::unique_ptr<Network> network;
  std::string path;               ///< of its file, FILE::NAME where it is one of several; empty if not from a file
  std::string recorded_hash;      ///< of its content, where the file says it or it was read before
  std::vector<std::string> said;  ///< what its reader took for granted, a line each

  /// Of its content: recorded_hash, or what is read from the file now; empty if not from a file.
  std::string hash() const;
};

/// What loading weights did beyond copying; printed as "said" lines.
struct LoadReport {
  std::vector<std::string> lines;
};

/// Loads a model file with its metadata. Throws Error: no metadata (says to use --model ARCH --weights FILE), a missing
/// or unexpected tensor, a shape that differs (name, found, expected).
Model load_model(const std::string& path);
/// The same of a file's content, which errors call `path`; without a hash.
Model make_model(TensorFile file, const std::string& path);
/// What a file says of its network, without building it; throws as load_model does.
ModelSpec load_spec(const std::string& path);
/// Copies the file's tensors into a network. Tolerates: num_batches_tracked missing; a head named linear, classifier or
/// fc (said); with replace_head a head of another class count, or of classes with other names,
/// keeps its fresh weights (said); a file with or without
/// AuxLogits (said). Throws Error: a file whose metadata names another architecture, and else as load_model.
LoadReport load_weights(Network& network, const ModelSpec& spec, const std::string& path, bool replace_head);
/// Copies those of the file's tensors whose names and shapes the network has, whatever network the file is of; the rest
/// keeps its fresh weights. Says how many fit and names what starts fresh. A head of classes with other names starts
/// fresh, too. Throws Error where no tensor fits, and for a file that can't be read.
LoadReport load_fitting_weights(Network& network, const ModelSpec& spec, const std::string& path);
/// Whether a file holds InceptionV3's auxiliary head.
bool has_auxiliary_head(const TensorFile& file);
/// What the file's metadata says of its input, where it says it; none for a file from elsewhere. Throws Error for
/// metadata that is there and not as save_model writes it.
std::optional<Preprocessing> saved_preprocessing(const std::string& path);
/// The layer that gives the logits: weight [features, classes] and bias [classes].
struct Head {
  Parameter *weight = nullptr, *bias = nullptr;
};
/// The last layer that the network visits. Names the parameters.
Head head_of(Network& network);

/// A model as a file holds it: torchvision's names and layouts, spec in the metadata.
TensorFile to_file(Network& network, const ModelSpec& spec);
/// Atomic.
void save_model(const std::string& path, Network& network, const ModelSpec& spec);

}  // namespace retort
