// A teacher's classes folded into the student's: 118 breeds are one dog.
//
// A student's class s gets  log sum_t exp(z[t]) - log(number of its classes t):  the sum is the class's share of the
// teacher's probability, and the second term takes back what a class gains by having many parts. Without that prior a
// teacher of 118 breeds and 5 kinds of cat leans towards dogs by log(118 / 5) before it has seen anything.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/nn/module.h"

namespace retort {

/// A table of pairs, as its file has them.
struct ClassMap {
  struct Row {
    std::string teacher, student;
    double count = 1;  ///< classes that the teacher's class stands for itself
  };
  std::string path;
  std::vector<Row> rows;
  bool prior = true;  ///< corrected for the number of classes

  /// The student's classes by name, as those of a folder stand.
  std::vector<std::string> students() const;
};

/// Reads `teacher class,student class[,count]`, quoted as in any CSV, with or without the header teacher,student.
/// Throws Error naming file and line: another number of fields, a class without a name, a teacher's class twice, a
/// count that is no number above 0.
ClassMap read_class_map(const std::string& path, bool prior);

/// A map between two lists of classes.
class ClassFold {
 public:
  /// `teacher` names the teacher's classes as messages call it. Throws Error for a class of the map that the teacher or
  /// the student lacks, and for a student's class to which nothing is folded.
  ClassFold(const ClassMap& map, const std::string& teacher, const std::vector<std::string>& teacher_classes,
            const std::vector<std::string>& student_classes);
  /// Logits f32 [rows, teacher's classes] -> [rows, student's classes], on the CPU.
  Tensor operator()(const Tensor& logits) const;
  /// What was folded into what, for the user to read.
  const std::string& remark() const { return remark_; }

 private:
  struct Group {
    std::vector<std::int64_t> parts;
    double shift = 0;  ///< added to the sum's logarithm
  };
  std::vector<Group> groups_;
  std::int64_t teacher_classes_;
  std::string remark_;
};

/// A network whose logits are folded. For teachers: it records no gradient.
class FoldedNetwork : public Network {
 public:
  FoldedNetwork(std::unique_ptr<Network> network, ClassFold fold)
      : network_(std::move(network)), fold_(std::move(fold)) {}
  Tensor forward(const Tensor& x, ForwardContext& context) override;
  void visit(Visitor& visitor) override { network_->visit(visitor); }
  std::int64_t min_image_size() const override { return network_->min_image_size(); }

 private:
  std::unique_ptr<Network> network_;
  ClassFold fold_;
};

}  // namespace retort
