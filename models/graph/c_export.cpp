// Everything lies as in memory here: images [h, w, c], filters [r, s, c, k], matrices [in, out], so that the innermost
// loop runs over neighbours and a compiler makes vectors of it.
#include "models/graph/c_export.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <set>
#include <sstream>

#include "engine/core/check.h"
#include "engine/io/file.h"
#include "models/graph/network.h"

namespace retort {
namespace {

/// What a node calls; only those that are called are written.
struct Routine {
  const char* name;
  const char* source;
};
constexpr Routine kRoutines[] = {
    {"conv",
     R"(/* y[p, q, k] = b[k] + sum of x[p stride + r - pad, ...] w[r, s, c, k]; groups of c and k side by side. */
static void conv(const float *x, const float *w, const float *b, float *y, const int *g) {
  const int h = g[0], wide = g[1], c = g[2], k = g[3], rows = g[4], columns = g[5], stride_h = g[6], stride_w = g[7],
            pad_h = g[8], pad_w = g[9], step_h = g[10], step_w = g[11], groups = g[12], high = g[13], broad = g[14];
  const int each = c / groups, outputs = k / groups;
  for (int p = 0; p < high; ++p)
    for (int q = 0; q < broad; ++q, y += k) {
      for (int o = 0; o < k; ++o) y[o] = b ? b[o] : 0.0f;
      for (int r = 0; r < rows; ++r) {
        const int row = p * stride_h + r * step_h - pad_h;
        if (row < 0 || row >= h) continue;
        for (int s = 0; s < columns; ++s) {
          const int column = q * stride_w + s * step_w - pad_w;
          if (column < 0 || column >= wide) continue;
          const float *pixel = x + ((long)row * wide + column) * c;
          for (int group = 0; group < groups; ++group)
            for (int i = 0; i < each; ++i) {
              const float value = pixel[group * each + i];
              const float *filter = w + (((long)r * columns + s) * each + i) * k + group * outputs;
              for (int o = 0; o < outputs; ++o) y[group * outputs + o] += value * filter[o];
            }
        }
      }
    }
}
)"},
    {"linear", R"(/* y[o] = b[o] + sum of x[i] w[i, o] */
static void linear(const float *x, const float *w, const float *b, float *y, int in, int out) {
  for (int o = 0; o < out; ++o) y[o] = b[o];
  for (int i = 0; i < in; ++i)
    for (int o = 0; o < out; ++o) y[o] += x[i] * w[(long)i * out + o];
}
)"},
    {"relu", R"(static void relu(const float *x, float *y, int n) {
  for (int i = 0; i < n; ++i) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}
)"},
    {"add", R"(static void add(const float *a, const float *b, float *y, int n) {
  for (int i = 0; i < n; ++i) y[i] = a[i] + b[i];
}
)"},
    {"affine", R"(static void affine(const float *x, float *y, int n, float alpha, float beta) {
  for (int i = 0; i < n; ++i) y[i] = alpha * x[i] + beta;
}
)"},
    {"channel_affine",
     R"(static void channel_affine(const float *x, const float *w, const float *b, float *y, int rows, int c) {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < c; ++j) y[i * c + j] = w[j] * x[i * c + j] + b[j];
}
)"},
    {"copy_channels", R"(/* Channels from .. from + count - 1 of x to those of y that begin at `to`. */
static void copy_channels(const float *x, int c, int from, float *y, int k, int to, int rows, int count) {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < count; ++j) y[i * k + to + j] = x[i * c + from + j];
}
)"},
    {"max_pool", R"(static void max_pool(const float *x, float *y, const int *g) {
  const int h = g[0], wide = g[1], c = g[2], kernel = g[3], stride = g[4], pad = g[5], high = g[6], broad = g[7];
  for (int p = 0; p < high; ++p)
    for (int q = 0; q < broad; ++q, y += c) {
      int any = 0;
      for (int row = p * stride - pad; row < p * stride - pad + kernel; ++row)
        for (int column = q * stride - pad; column < q * stride - pad + kernel; ++column) {
          if (row < 0 || row >= h || column < 0 || column >= wide) continue;
          const float *pixel = x + ((long)row * wide + column) * c;
          for (int i = 0; i < c; ++i) y[i] = !any || pixel[i] > y[i] ? pixel[i] : y[i];
          any = 1;
        }
    }
}
)"},
    {"average_pool", R"(/* Divided by what the window holds of the image, or of the padded image where g[8] is 1. */
static void average_pool(const float *x, float *y, const int *g) {
  const int h = g[0], wide = g[1], c = g[2], kernel = g[3], stride = g[4], pad = g[5], high = g[6], broad = g[7];
  for (int p = 0; p < high; ++p)
    for (int q = 0; q < broad; ++q, y += c) {
      int count = 0;
      for (int i = 0; i < c; ++i) y[i] = 0.0f;
      for (int row = p * stride - pad; row < p * stride - pad + kernel; ++row)
        for (int column = q * stride - pad; column < q * stride - pad + kernel; ++column) {
          const int inside = row >= 0 && row < h && column >= 0 && column < wide;
          count += inside || (g[8] && row < h + pad && column < wide + pad);
          if (!inside) continue;
          const float *pixel = x + ((long)row * wide + column) * c;
          for (int i = 0; i < c; ++i) y[i] += pixel[i];
        }
      for (int i = 0; i < c; ++i) y[i] /= (float)count;
    }
}
)"},
    {"global_average_pool", R"(static void global_average_pool(const float *x, float *y, int rows, int c) {
  for (int i = 0; i < c; ++i) y[i] = 0.0f;
  for (int row = 0; row < rows; ++row)
    for (int i = 0; i < c; ++i) y[i] += x[row * c + i];
  for (int i = 0; i < c; ++i) y[i] /= (float)rows;
}
)"}};

/// A letter, then letters, digits and underscores.
std::string identifier(const std::string& path) {
  std::string name;
  for (const char c : std::filesystem::path(path).stem().string()) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    name += plain ? c : '_';
  }
  return !name.empty() && name[0] >= 'a' && name[0] <= 'z' ? name : "model_" + name;
}

/// Nine digits read back to the same float.
std::string literal(float value) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.9g", static_cast<double>(value));
  std::string number = digits;
  if (number.find_first_of(".e") == number.npos) number += ".0";
  return number + "f";
}

std::string quoted(const std::string& name) {
  std::string result = "\"";
  for (const char c : name) {
    const bool plain = c >= ' ' && c <= '~' && c != '"' && c != '\\' && c != '?';
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\%03o", static_cast<unsigned>(static_cast<unsigned char>(c)));
    result += plain ? std::string(1, c) : escaped;
  }
  return result + "\"";
}

/// A line of a comment that does not end it.
std::string commented(std::string line) {
  for (std::size_t at = 0; (at = line.find("*/", at)) != line.npos;) line.replace(at, 2, "* /");
  for (std::size_t at = 0; (at = line.find("/*", at)) != line.npos;) line.replace(at, 2, "/ *");
  return line;
}

/// Where values lie in the workspace: each from the node that gives it to the last that reads it.
class Places {
 public:
  std::int64_t take(std::int64_t size, std::size_t now, std::size_t last) {
    std::erase_if(taken_, [&](const Block& block) { return block.last < now; });
    std::ranges::sort(taken_, {}, &Block::begin);
    std::int64_t at = 0;
    for (const Block& block : taken_) {
      if (block.begin - at >= size) break;
      at = std::max(at, block.begin + block.size);
    }
    taken_.push_back({at, size, last});
    total_ = std::max(total_, at + size);
    return at;
  }
  std::int64_t total() const { return total_; }

 private:
  struct Block {
    std::int64_t begin, size;
    std::size_t last;
  };
  std::vector<Block> taken_;
  std::int64_t total_ = 0;
};

class CExport {
 public:
  explicit CExport(const PlainGraph& graph) : graph_(graph) {}

  std::string run(const std::string& path, const CExportOptions& options) {
    std::int64_t weights = 0;
    for (const auto& [name, tensor] : graph_.tensors) weights += tensor.count();
    check(weights <= kMaxCWeights, path, ": the network has ", weights, " weights, and a C file at most ", kMaxCWeights,
          ": use --format onnx");
    find_last_uses();
    place(0);
    for (std::size_t i = 0; i < graph_.spec.nodes.size(); ++i) {
      node_ = &graph_.spec.nodes[i];
      number_ = i + 1;
      visit();
    }
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    check(places_.total() <= kMost, path, ": images of ", graph_.image, " need a workspace of ", places_.total(),
          " floats, and its C counts to ", kMost, ": use --format onnx");
    return assemble(identifier(path), options);
  }

 private:
  /// What is another shape of the same elements.
  static bool is_view(const GraphNode& node) {
    return node.op == "flatten" || node.op == "reshape" || node.op == "dropout";
  }

  void find_last_uses() {
    const std::vector<GraphNode>& nodes = graph_.spec.nodes;
    last_use_.assign(nodes.size() + 1, 0);
    last_use_.back() = nodes.size() + 1;
    for (std::size_t i = nodes.size(); i-- > 0;)
      for (const std::int64_t input : nodes[i].inputs) {
        std::size_t& last = last_use_[static_cast<std::size_t>(input)];
        last = std::max({last, i + 1, is_view(nodes[i]) ? last_use_[i + 1] : 0});
      }
  }
  void place(std::size_t value) {
    offsets_.resize(graph_.shapes.size());
    offsets_[value] = places_.take(graph_.shapes[value].count(), value, last_use_[value]);
  }

  const Shape& shape(std::size_t i = 0) const { return graph_.shapes[static_cast<std::size_t>(node_->inputs[i])]; }
  const Shape& result() const { return graph_.shapes[number_]; }
  std::string at(std::int64_t offset) const { return text("workspace + ", offset); }
  std::string x(std::size_t i = 0) const { return at(offsets_[static_cast<std::size_t>(node_->inputs[i])]); }
  std::string y() const { return at(offsets_[number_]); }
  std::int64_t integer(const char* key, std::int64_t otherwise = 0) const {
    return static_cast<std::int64_t>(node_->number(key, static_cast<double>(otherwise)));
  }

  /// A table of weights; `source` says which element of the tensor stands at each place.
  template <class Source>
  std::string table(const char* part, const Source& source) {
    const Tensor& tensor = graph_.tensor(text(node_->name, ".", part));
    std::string name = text("w", tables_++);
    data_ << "/* " << commented(node_->name) << '.' << part << " */\nstatic const float " << name << '['
          << tensor.count() << "] = {";
    for (std::int64_t i = 0; i < tensor.count(); ++i)
      data_ << (i % 8 ? " " : "\n  ") << literal(tensor.data<float>()[source(i)]) << ',';
    data_ << "\n};\n";
    return name;
  }
  std::string vector(const char* part) {
    return table(part, [](std::int64_t i) { return i; });
  }

  template <class... Parts>
  void call(const char* routine, const Parts&... parts) {
    used_.insert(routine);
    code_ << "  " << routine << '(' << text(parts...) << ");  /* " << commented(node_->name) << " */\n";
  }
  /// The numbers that a routine reads from its list g.
  std::string numbers(std::initializer_list<std::int64_t> values) {
    std::string name = text("g", number_);
    data_ << "static const int " << name << "[] = {";
    const char* before = "";
    for (const std::int64_t value : values) {
      data_ << before << value;
      before = ", ";
    }
    data_ << "};\n";
    return name;
  }

  void convolution() {
    const std::int64_t k = integer("out"), r = integer("r"), s = integer("s"), groups = integer("groups", 1),
                       each = integer("in") / groups;
    // [k, each, r, s] in the file, [r, s, each, k] here.
    const std::string weight = table("weight", [=](std::int64_t i) {
      const std::int64_t out = i % k, in = i / k % each, column = i / k / each % s, row = i / k / each / s;
      return ((out * each + in) * r + row) * s + column;
    });
    const std::string bias = integer("bias", 1) == 1 ? vector("bias") : "NULL";
    const Shape &in = shape(), &out = result();
    const std::string list =
        numbers({in[1], in[2], in[3], k, r, s, integer("stride_h", 1), integer("stride_w", 1), integer("pad_h"),
                 integer("pad_w"), integer("dilation_h", 1), integer("dilation_w", 1), groups, out[1], out[2]});
    call("conv", x(), ", ", weight, ", ", bias, ", ", y(), ", ", list);
  }

  void linear() {
    const std::int64_t in = integer("in"), out = integer("out");
    const std::int64_t h = integer("h", 1), w = integer("w", 1), c = h * w > 0 ? in / (h * w) : in;
    // [out, c h w] in the file, [h w c, out] here.
    const std::string weight = table("weight", [=](std::int64_t i) {
      const std::int64_t o = i % out, channel = i / out % c, pixel = i / out / c;
      return o * in + channel * h * w + pixel;
    });
    const std::string bias = vector("bias");
    check(shape().rank() == 2, "node ", node_->name, " (linear): it takes tokens, which there is no C of here");
    call("linear", x(), ", ", weight, ", ", bias, ", ", y(), ", ", in, ", ", out);
  }

  void pool() {
    const Shape &in = shape(), &out = result();
    const std::string list = numbers({in[1], in[2], in[3], integer("kernel"), integer("stride", 1), integer("pad"),
                                      out[1], out[2], integer("count_include_pad")});
    call(node_->op == "max_pool" ? "max_pool" : "average_pool", x(), ", ", y(), ", ", list);
  }

  void concat() {
    std::int64_t to = 0;
    for (std::size_t i = 0; i < node_->inputs.size(); ++i) {
      const std::int64_t channels = shape(i)[-1];
      call("copy_channels", x(i), ", ", channels, ", 0, ", y(), ", ", result()[-1], ", ", to, ", ",
           shape(i).count() / channels, ", ", channels);
      to += channels;
    }
  }

  void visit() {
    const std::string& op = node_->op;
    if (is_view(*node_)) {
      offsets_[number_] = offsets_[static_cast<std::size_t>(node_->inputs[0])];
      return;
    }
    place(number_);
    const std::int64_t count = result().count(), channels = shape()[-1];
    if (op == "conv") return convolution();
    if (op == "linear") return linear();
    if (op == "max_pool" || op == "average_pool") return pool();
    if (op == "concat") return concat();
    if (op == "relu") return call("relu", x(), ", ", y(), ", ", count);
    if (op == "add") return call("add", x(0), ", ", x(1), ", ", y(), ", ", count);
    if (op == "affine")
      return call("affine", x(), ", ", y(), ", ", count, ", ", literal(static_cast<float>(node_->number("alpha"))),
                  ", ", literal(static_cast<float>(node_->number("beta"))));
    if (op == "channel_affine")
      return call("channel_affine", x(), ", ", vector("weight"), ", ", vector("bias"), ", ", y(), ", ",
                  count / channels, ", ", channels);
    if (op == "channels")
      return call("copy_channels", x(), ", ", channels, ", ", integer("begin"), ", ", y(), ", ", integer("count"),
                  ", 0, ", shape().count() / channels, ", ", integer("count"));
    if (op == "global_average_pool")
      return call("global_average_pool", x(), ", ", y(), ", ", shape().count() / channels, ", ", channels);
    throw Error(text("node ", node_->name, " (", op, "): there is no C of this op here; use --format onnx"));
  }

  std::string assemble(const std::string& name, const CExportOptions& options) const {
    const Shape& image = graph_.image;
    const std::int64_t pixels = image.count(), classes = graph_.shapes.back().count();
    std::ostringstream out;
    out << "/* " << commented(options.comment) << "\n\n   void " << name
        << "_forward(const float *image, float *logits, float *workspace);\n\n   image      " << pixels << " floats, ["
        << image[2] << "][" << image[0] << "][" << image[1] << "]: channel, row, column\n   logits     " << classes
        << " floats, one a class; the greatest is the answer\n   workspace  " << places_.total()
        << " floats, of any value; calls at the same time need one each */\n#include <stddef.h>\n\n"
        << "void " << name << "_forward(const float *image, float *logits, float *workspace);\n"
        << "enum { " << name << "_pixels = " << pixels << ", " << name << "_classes = " << classes << ", " << name
        << "_workspace = " << places_.total() << " };\nextern const char *const " << name << "_class_names[" << classes
        << "];\n\nconst char *const " << name << "_class_names[" << classes << "] = {";
    for (std::size_t i = 0; i < options.classes.size(); ++i)
      out << (i ? ",\n  " : "\n  ") << quoted(options.classes[i]);
    out << "\n};\n\n" << data_.str() << '\n';
    for (const Routine& routine : kRoutines)
      if (used_.contains(routine.name)) out << routine.source << '\n';
    const std::int64_t plane = image[0] * image[1];
    out << "void " << name << "_forward(const float *image, float *logits, float *workspace) {\n  for (int c = 0; c < "
        << image[2] << "; ++c)\n    for (int i = 0; i < " << plane << "; ++i) workspace[" << offsets_[0] << " + i * "
        << image[2] << " + c] = image[c * " << plane << " + i];\n"
        << code_.str() << "  for (int i = 0; i < " << classes << "; ++i) logits[i] = workspace[" << offsets_.back()
        << " + i];\n}\n";
    return out.str();
  }

  const PlainGraph& graph_;
  std::vector<std::size_t> last_use_;
  std::vector<std::int64_t> offsets_;  ///< of each value
  Places places_;
  const GraphNode* node_ = nullptr;
  std::size_t number_ = 0;  ///< of its value
  int tables_ = 0;
  std::set<std::string> used_;
  std::ostringstream data_, code_;
};

}  // namespace

void write_c(const std::string& path, const PlainGraph& graph, const CExportOptions& options) {
  write_atomic(path, CExport(graph).run(path, options));
}

}  // namespace retort
