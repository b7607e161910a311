// A self-contained HTML page, built from top to bottom: no file and no network beside it, readable on a phone, in the
// reader's light or dark setting. All text is escaped here.
#pragma once

#include <string>
#include <vector>

#include "engine/data/image.h"

namespace retort {

/// One image and what two networks say of it.
struct PageSample {
  std::string name, truth;  ///< truth may be empty
  Image image;
  std::vector<float> student, teacher;  ///< logits in the order of the classes; teacher may be empty
};

class Page {
 public:
  explicit Page(const std::string& title);

  void section(const std::string& heading);
  void paragraph(const std::string& text);
  /// Every row has as many cells as there are columns; cells that are numbers are set to the right.
  void table(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows);
  /// A picture of engine/report/svg.h.
  void figure(const std::string& svg);
  /// Cards with the image and both networks' distributions as bars, and a slider for their temperature, which starts
  /// at `temperature`. One group a page. Throws Error if a sample's logits are not one for each class.
  void samples(const std::vector<std::string>& classes, const std::vector<PageSample>& samples, double temperature);

  /// The whole page.
  std::string str() const;

 private:
  std::string title_, body_, script_;
};

/// A PNG of at most `side` pixels a side, aspect kept, never enlarged, as a data: URI.
std::string data_uri(const Image& image, std::int64_t side);

}  // namespace retort
