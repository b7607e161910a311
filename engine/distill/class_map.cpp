#include "engine/distill/class_map.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "engine/io/csv.h"
#include "engine/ops/elementwise.h"

namespace retort {
namespace {

double parse_count(const std::string& field, const std::string& where) {
  double value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  check(error == std::errc() && end == field.data() + field.size() && std::isfinite(value) && value > 0, where, "'",
        field, "' is no count; give how many classes the teacher's stands for, above 0, or leave it out");
  return value;
}

bool is_header(const std::vector<std::string>& fields) {
  return fields.size() >= 2 && fields[0] == "teacher" && fields[1] == "student";
}

std::string decimals(double value) { return text(std::round(1000 * value) / 1000); }

}  // namespace

std::vector<std::string> ClassMap::students() const {
  std::set<std::string> classes;
  for (const Row& row : rows) classes.insert(row.student);
  return {classes.begin(), classes.end()};
}

ClassMap read_class_map(const std::string& path, bool prior) {
  ClassMap map{.path = path, .rows = {}, .prior = prior};
  std::unordered_set<std::string> seen;
  bool first = true;
  read_csv(path, [&](const std::vector<std::string>& fields, const std::string& where) {
    if (std::exchange(first, false) && is_header(fields)) return;
    check(fields.size() == 2 || fields.size() == 3, where, fields.size(),
          " fields, expected a teacher's class, the student's, and perhaps a count; write one pair a line");
    check(!fields[0].empty() && !fields[1].empty(), where, "a class without a name; write one pair a line");
    check(seen.insert(fields[0]).second, where, "the teacher's class '", fields[0],
          "' a second time; give it to one of the student's classes");
    map.rows.push_back({fields[0], fields[1], fields.size() == 3 ? parse_count(fields[2], where) : 1});
  });
  check(!map.rows.empty(), path, ": no pair of classes; write teacher class,student class, one pair a line");
  return map;
}

ClassFold::ClassFold(const ClassMap& map, const std::string& teacher, const std::vector<std::string>& teacher_classes,
                     const std::vector<std::string>& student_classes)
    : groups_(student_classes.size()), teacher_classes_(static_cast<std::int64_t>(teacher_classes.size())) {
  std::unordered_map<std::string, std::int64_t> teachers, students;
  for (std::size_t i = 0; i < teacher_classes.size(); ++i)
    check(teachers.emplace(teacher_classes[i], static_cast<std::int64_t>(i)).second, teacher, ": two classes called '",
          teacher_classes[i], "'; give each its own name (--class-names)");
  for (std::size_t i = 0; i < student_classes.size(); ++i)
    students.emplace(student_classes[i], static_cast<std::int64_t>(i));
  std::vector<double> counts(student_classes.size());
  for (const ClassMap::Row& row : map.rows) {
    const auto from = teachers.find(row.teacher), to = students.find(row.student);
    check(from != teachers.end(), map.path, ": ", teacher, " has no class '", row.teacher,
          "'; give the teacher's own names");
    check(to != students.end(), map.path, ": the student has no class '", row.student, "'; it knows ",
          alternatives(student_classes));
    groups_[static_cast<std::size_t>(to->second)].parts.push_back(from->second);
    counts[static_cast<std::size_t>(to->second)] += row.count;
  }
  remark_ = text(map.path, ": ");
  for (std::size_t s = 0; s < groups_.size(); ++s) {
    check(!groups_[s].parts.empty(), map.path, ": no class of ", teacher, " is given to the student's '",
          student_classes[s], "'; give it one or more");
    if (map.prior) groups_[s].shift = -std::log(counts[s]);
    if (s < 10) remark_ += text(s ? ", " : "", student_classes[s], " = ", groups_[s].parts.size(), " classes");
    if (map.prior && counts[s] != 1 && s < 10)
      remark_ += text(" (corrected for ", counts[s], ": ", decimals(groups_[s].shift), ")");
  }
  const std::size_t unused = teacher_classes.size() - map.rows.size();
  if (unused > 0) remark_ += text("; ", unused, " others are left out");
  if (map.prior) remark_ += "; --no-prior takes the sums as they are";
}

Tensor ClassFold::operator()(const Tensor& logits) const {
  check(logits.shape().rank() == 2 && logits.shape()[1] == teacher_classes_, "class map: logits of shape ",
        logits.shape(), ", expected ", teacher_classes_, " classes; give those of the teacher");
  const Tensor from = logits.to(Device::cpu).to(DType::f32);
  const std::int64_t rows = from.shape()[0], classes = static_cast<std::int64_t>(groups_.size());
  Tensor to = Tensor::empty({rows, classes});
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* z = from.data<float>() + row * teacher_classes_;
    for (std::int64_t s = 0; s < classes; ++s) {
      const Group& group = groups_[static_cast<std::size_t>(s)];
      double top = z[group.parts[0]], sum = 0;
      for (const std::int64_t part : group.parts) top = std::max(top, double{z[part]});
      for (const std::int64_t part : group.parts) sum += std::exp(z[part] - top);
      to.data<float>()[row * classes + s] = static_cast<float>(top + std::log(sum) + group.shift);
    }
  }
  return to;
}

Tensor FoldedNetwork::forward(const Tensor& x, ForwardContext& context) {
  const NoGrad no_grad;
  return fold_(network_->forward(x, context));
}

}  // namespace retort
