// A teacher judged by its logits alone, before anything is learnt from it.
#pragma once

#include <string>
#include <vector>

#include "engine/core/tensor.h"
#include "engine/distill/stored_logits.h"
#include "kernels/soft_loss.h"

namespace retort {

enum class TeacherVerdict : std::uint8_t {
  useful,      ///< nothing speaks against it
  chance,      ///< right no more often than always naming the most frequent class
  labels,      ///< its targets are the labels once more
  smoothing,   ///< its targets are the labels, smoothed: all classes but the first are alike
  flat,        ///< its targets are the same for all classes
  constant,    ///< its targets are the same for all pictures
  not_judged,  ///< no labels to judge by
};

/// What `judge_teacher` finds. Shares are in [0, 1].
struct TeacherReport {
  std::int64_t pictures = 0, labelled = 0, classes = 0;
  double agreement = 0;       ///< of the labelled pictures, those whose label has the highest logit
  double most_frequent = 0;   ///< share of the most frequent label: what naming it always would get right
  double confidence = 0;      ///< mean of the largest probability at T = 1
  double entropy = 0;         ///< mean at T, in nats
  double entropy_share = 0;   ///< of log(classes)
  double others_entropy = 0;  ///< mean entropy at T of the classes beside the most probable one, as a share of
                              ///< log(classes - 1); 0 with two classes
  double hard_share = 0;      ///< effective_hard_share (objective.h); pictures without labels have none
  TeacherVerdict verdict = TeacherVerdict::not_judged;
  std::string sentence;  ///< the verdict in plain words
};

/// Of the logits that the student will learn from those of `rows`, or all where that is empty; labels i64 [n], one a
/// row, -1 where there is none, or empty. The temperature is the settings'. A tie is for the lower class, and a picture
/// without labels counts for all but the agreement.
///
/// The rule, the first that holds:
///   flat       entropy at T above 0.999 of log(classes): targets that say the same of all classes move no student
///              towards any; a lower temperature may show more.
///   constant   every row's probabilities at T are within 1e-3 of the first row's: nothing is said about the pictures.
///   chance     agreement - most_frequent is below two standard errors of a share, 2 sqrt(m (1 - m) / labelled) with
///              m = most_frequent: whoever does not look at the pictures is right as often.
///   labels     agreement above 0.99 and entropy at T below 0.01 of log(classes), all pictures being labelled: what a
///              teacher adds lies in the probabilities beside the label, and at this temperature there are none.
///   smoothing  agreement above 0.99 and, with three classes or more, others_entropy above 0.999, all pictures being
///              labelled: label smoothing has the same targets. (Of two classes there is one other, and how sure the
///              teacher is from picture to picture is all that it can add.)
///   not_judged without labels; else useful.
/// The last two of these need pictures that are all labelled, because where some are not the teacher's answers are
/// labels that one did not have. Throws Error on other shapes or a label out of range.
TeacherReport judge_teacher(const StoredLogits& logits, const Tensor& labels, const DistillationSettings& settings,
                            const std::vector<std::int64_t>& rows = {});

}  // namespace retort
