// Retort's C++ interface: the C one (retort.h) with destructors, strings and exceptions. Nothing to link beyond
// retort.h's library, and nothing of the engine in sight. For C++17 and later.
#ifndef RETORT_HPP
#define RETORT_HPP

#include <retort.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace retort {

/// What failed, in one line that begins with what is at fault and ends with what to do.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A loaded model. Its functions may be called by several threads at once.
class Classifier {
 public:
  /// Reads a model file of Retort, or a bundle. Throws Failure.
  explicit Classifier(const std::string& path) : model_(retort_load(path.c_str()), retort_free) {
    if (!model_) throw Failure(retort_last_error());
    for (std::int32_t i = 0; i < retort_classes(model_.get()); ++i)
      classes_.emplace_back(retort_class_name(model_.get(), i));
  }

  /// The names of the classes, in the order of probabilities.
  const std::vector<std::string>& classes() const { return classes_; }

  /// The probability of every class, at temperature 1, of a picture as a file. Throws Failure.
  std::vector<float> classify(const std::string& path) const {
    std::vector<float> probabilities(classes_.size());
    if (retort_classify_file(model_.get(), path.c_str(), probabilities.data()) != 0) throw Failure(retort_last_error());
    return probabilities;
  }

  /// Of pixels, as retort_classify_pixels takes them. Throws Failure.
  std::vector<float> classify(const std::uint8_t* pixels, std::int32_t width, std::int32_t height,
                              std::int32_t channels) const {
    std::vector<float> probabilities(classes_.size());
    if (retort_classify_pixels(model_.get(), pixels, width, height, channels, probabilities.data()) != 0)
      throw Failure(retort_last_error());
    return probabilities;
  }

 private:
  std::unique_ptr<retort_model, void (*)(retort_model*)> model_;
  std::vector<std::string> classes_;
};

}  // namespace retort

#endif
