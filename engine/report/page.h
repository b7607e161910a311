// A self-contained HTML page, built from top to bottom: no file and no network beside it, readable on a phone, in the
// reader's light or dark setting. All text is escaped here.
#pragma once

#include <cstdint>
#include <optional>
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

/// Networks that a page itself runs, as WebAssembly: model files, and the program that reads them (tools/page).
struct PageProgram {
  std::vector<std::uint8_t> module, student, teacher;  ///< teacher may be empty
};

struct Thumbnail {
  Image image;
  std::vector<std::string> lines;
};

class Page {
 public:
  explicit Page(const std::string& title);

  /// The browser reads the page anew after so many seconds.
  void refresh(int seconds) { refresh_ = seconds; }
  void section(const std::string& heading);
  void paragraph(const std::string& text);
  /// "The command: ...", broken between its words alone: "--image-size" has hyphens, too.
  void command(const std::string& line);
  /// Every row has as many cells as there are columns; a column of numbers and empty cells is set to the right.
  void table(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows);
  /// A picture of engine/report/svg.h. One that is wider than a phone is scrolled, not shrunk.
  void figure(const std::string& svg);
  /// What follows up to end_fold stays folded until a reader opens it.
  void begin_fold(const std::string& heading);
  void end_fold();
  /// Small pictures with lines of text below each.
  void gallery(const std::vector<Thumbnail>& thumbnails);
  /// Cards with the image and the distributions of the network, called `student_name`, and its teacher as bars, and a
  /// slider for their temperature, which starts at 1 and is marked at `marked`, the run's own (none: no mark). One
  /// group a page. Throws Error if a sample's logits are not one for each class.
  void samples(const std::vector<std::string>& classes, const std::vector<PageSample>& samples,
               const std::string& student_name, std::optional<double> marked);

  /// A field for a picture of the reader's, and in place of samples what the networks of `program` say of it. The page
  /// is forbidden to ask anything of a network.
  void classifier(const PageProgram& program, const std::vector<std::string>& classes, const std::string& student_name,
                  std::optional<double> marked);

  /// The whole page.
  std::string str() const;

 private:
  std::string title_, head_, body_, script_;
  int refresh_ = 0;  ///< seconds; 0: never
};

/// A PNG of at most `side` pixels a side, aspect kept, never enlarged, as a data: URI.
std::string data_uri(const Image& image, std::int64_t side);

}  // namespace retort
