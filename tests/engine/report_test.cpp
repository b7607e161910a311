// Pictures, pages and observables: what they show, and that no text breaks out of them.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/core/check.h"
#include "engine/core/tape.h"
#include "engine/io/encode.h"
#include "engine/nn/layers.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/loss.h"
#include "engine/report/charts.h"
#include "engine/report/network_graph.h"
#include "engine/report/observables.h"
#include "engine/report/page.h"
#include "engine/report/svg.h"

namespace retort {
namespace {

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

const std::vector<std::string> kClasses = {"cat", "dog", "<b>owl</b>"};

}  // namespace

TEST_CASE("report: text is escaped, shortened by characters, numbers are short") {
  CHECK(escape("a<b>&\"'") == "a&lt;b&gt;&amp;&quot;&#39;");
  CHECK(escape("\xff\x01x") == "\xef\xbf\xbdx");
  CHECK(shorten("caf\u00e9 au lait", 5) == "caf\u2026t");
  CHECK(shorten("na\u00efve caf\u00e9", 7) == "na\u00efv\u2026f\u00e9");
  CHECK(shorten("short", 5) == "short");
  CHECK(number(0.25) == "0.25");
  CHECK(number(1234567, 3) == "1.23e+06");
  CHECK(number(NAN) == "-");
}

TEST_CASE("report: ticks are round and enclose the range") {
  const auto check_range = [](double low, double high) {
    const std::vector<double> found = ticks(low, high);
    REQUIRE(found.size() >= 2);
    CHECK(found.size() <= 12);
    CHECK(found.front() <= low + 1e-9 * std::fabs(low));
    CHECK(found.back() >= high - 1e-9 * std::fabs(high));
  };
  for (const double low : {-3.7, 0.0, 1e-6, 12.0, 1e9})
    for (const double extent : {0.0, 1e-3, 0.3, 7.0, 1e6}) check_range(low, low + extent);
  CHECK(ticks(NAN, 3) == std::vector<double>{0, 1});
}

TEST_CASE("report: charts hold their cells, curves and labels, whatever the values") {
  const std::string map = heat_map("title", "T", {"1", "2"}, "lambda", {"0", "0.5", "1"}, {{1, NAN, 3}, {4, 5, 6}});
  CHECK(count(map, "class=\"cell\"") == 5);  // NaN stays empty
  CHECK(count(map, "<svg") == 1);
  CHECK_THROWS_AS(heat_map("t", "r", {"1"}, "c", {"1"}, {{1, 2}}), Error);
  const std::string confusion = confusion_matrix("c", kClasses, {{5, 1, 0}, {0, 6, 0}, {0, 0, 0}});
  CHECK(count(confusion, "<b>") == 0);
  CHECK(count(confusion, "&lt;b&gt;owl") == 2);
  const std::string lines = line_chart("l", "epoch", {{"a", {{1, 2}, {2, NAN}, {3, 4}}}, {"b", {{2, 1}}}, {"c", {}}});
  CHECK(count(lines, "<polyline") == 1);
  CHECK(count(lines, "<circle") == 1);  // one point alone
  CHECK(count(line_chart("none", "epoch", {}), "</svg>") == 1);
  CHECK(count(reliability_diagram("r", {{4, 2, 2.5}, {0, 0, 0}, {1, 1, 0.9}}), "class=\"f0\"") == 3);  // with the key
  CHECK(count(temperature_chart("t", kClasses, {3, 1, 0}, {1, 4}), "class=\"f1\"") == 6);
}

TEST_CASE("report: a page escapes what it is told and refuses what does not fit") {
  Page page("a < b");
  page.section("<script>");
  page.table({"name", "n"}, {{"x", "1"}, {"</td>", "2"}});
  CHECK_THROWS_AS(page.table({"one"}, {{"1", "2"}}), Error);
  page.figure(heat_map("t", "r", {"1"}, "c", {"1"}, {{1}}));
  const Image image{2, 2, 1, {0, 50, 100, 255}};
  CHECK_THROWS_AS(page.samples(kClasses, {{"x", "cat", image, {1, 2}, {}}}, "student", {}), Error);
  page.samples(kClasses, {{"</script><b>", "dog", image, {1, 2, 3}, {3, 2, 1}}}, "student", 4);
  const std::string html = page.str();
  CHECK(count(html, "<h2>&lt;script&gt;</h2>") == 1);
  CHECK(count(html, "</script>") == 2);
  CHECK(count(html, "<td class=\"n\">1</td>") == 1);
  CHECK(count(html, "http") == count(html, "http://www.w3.org/2000/svg"));  // nothing is fetched
  CHECK(count(html, "src=\"data:image/png;base64,") == 1);
}

TEST_CASE("report: a PNG reads back to the same pixels, a thumbnail keeps the aspect") {
  Image image{5, 3, 3, {}};
  for (int i = 0; i < 45; ++i) image.pixels.push_back(static_cast<std::uint8_t>(i * 5));
  const Image read = decode_image(encode_png(image), "x.png");
  CHECK(read.width == 5);
  CHECK(read.height == 3);
  CHECK(read.pixels == image.pixels);
  CHECK_THROWS_AS(encode_png({0, 0, 3, {}}), Error);
  CHECK_THROWS_AS(encode_jpeg({0, 0, 3, {}}, 90), Error);
  // "iVBORw0KGgo" is PNG's signature in base64 (RFC 4648).
  CHECK(data_uri(image, 96).starts_with("data:image/png;base64,iVBORw0KGgo"));
}

TEST_CASE("report: blocks of a network, and both of its pictures") {
  const std::vector<LayerReport> layers = {
      {"conv1", "Conv2d", {1, 8, 8, 4}, 100, 0},         {"bn1", "BatchNorm2d", {1, 8, 8, 4}, 8, 0},
      {"layer1.0.conv1", "Conv2d", {1, 8, 8, 4}, 50, 0}, {"layer1.0.conv2", "Conv2d", {1, 4, 4, 4}, 60, 0},
      {"layer1.1.conv1", "Conv2d", {1, 4, 4, 4}, 70, 0}, {"fc", "Linear", {1, 3}, 15, 0}};
  const std::vector<Block> blocks = blocks_of(layers);
  REQUIRE(blocks.size() == 4);
  CHECK(blocks[0].name == "conv1");
  CHECK(blocks[0].detail == "Conv2d, 108 parameters, to 8 x 8 x 4");
  CHECK(blocks[1].name == "layer1.0");
  CHECK(blocks[1].detail == "2 layers, 110 parameters");
  // A shortcut around one layer, and one of two layers beside it.
  const std::vector<OutlineNode> nodes = {{"conv1", "Conv2d", {-1}},
                                          {"layer1.0.conv1", "Conv2d", {0}},
                                          {"layer1.0.conv2", "Conv2d", {1}},
                                          {"add", "", {2, 0}},
                                          {"fc", "Linear", {3}}};
  CHECK(branches_of(nodes).forks == 1);
  CHECK(branches_of(nodes).joins == 1);
  // A network may do nothing but give the image another shape.
  CHECK(network_graph({"net", "1 x 1 x 3", {}, 3, {}}, 5, 0.25).find("logits z") != std::string::npos);
  const std::string graph = network_graph({"net", "8 x 8 x 3", layers, 3, nodes}, 5, 0.25);
  CHECK(count(graph, ">layer1.0.conv2<") == 2);  // before and after
  CHECK(count(graph, "T = 5") == 2);
  CHECK(count(graph, "x 0.25") == 1);
  CHECK(count(graph, "x 0.75") == 1);
}

TEST_CASE("report: what a tape traced of a block with a shortcut, and the head in text") {
  Random random(1);
  Conv2d conv(3, 3, 1, 1, {}, /*has_bias=*/false, Init::kaiming_normal_fan_out, random);
  BatchNorm2d bn(3);
  Linear fc(12, 2, Init::kaiming_uniform_default, random);
  conv.weight.name = "a.conv.weight";
  bn.weight.name = "a.bn.weight";
  fc.weight.name = "fc.weight";
  Tensor image = Tensor::zeros({1, 2, 2, 3});
  std::vector<LayerReport> layers;
  ForwardContext context;
  context.report = &layers;
  Tape tape;
  tape.keep_trace();
  image.require_grad();
  const Tensor x = relu(scale(image, 2));
  const Tensor y = conv_bn(conv, bn, x, context, /*relu=*/true, x);
  concat({y, relu(y)});
  fc.forward(flatten(y), context);
  const std::vector<OutlineNode> nodes = outline_nodes(tape.trace(), layers, image);
  REQUIRE(nodes.size() == 6);
  CHECK(nodes[0].name == "scale 1");
  CHECK(nodes[0].detail == "to 2 x 2 x 3, relu");
  CHECK(nodes[0].inputs == std::vector<std::ptrdiff_t>{-1});
  CHECK(nodes[1].name == "a.conv");
  CHECK(nodes[1].detail == "Conv2d to 2 x 2 x 3, batch norm");
  CHECK(nodes[2].name == "add 1");
  CHECK(nodes[2].inputs == std::vector<std::ptrdiff_t>{1, 0});
  CHECK(nodes[3].name == "relu 1");  // of a result that others read, too
  CHECK(nodes[4].name == "concat 1");
  CHECK(nodes[4].inputs == std::vector<std::ptrdiff_t>{2, 3});
  CHECK(nodes[5].name == "fc");
  CHECK(nodes[5].inputs == std::vector<std::ptrdiff_t>{2});

  const std::vector<std::string> head = head_lines(37, 5, 0.25);
  REQUIRE(head.size() == 4);
  CHECK(head[0] == "student's logits z, 37 classes; teacher's logits v, live or from the store; labels");
  CHECK(head[3] == "loss = 0.25 cross-entropy + 0.75 T\u00b2 KL");
}

TEST_CASE("observables: means by class, confused pairs, disagreement and dark knowledge by hand") {
  const float two = std::log(2.0f);
  const Tensor v = Tensor::from<float>({3, 3}, std::vector<float>{two, 0, 0, 0, two, 0, 5, 5, 5});
  const Tensor labels = Tensor::from<std::int64_t>({3}, std::vector<std::int64_t>{0, 0, 1});
  const auto mean = mean_by_class(v, labels, 1);
  CHECK(mean[0][0] == doctest::Approx((0.5 + 0.25) / 2));
  CHECK(mean[0][2] == doctest::Approx(0.25));
  CHECK(mean[1][2] == doctest::Approx(1.0 / 3));
  CHECK(std::isnan(mean[2][0]));
  const auto pairs = most_confused(mean, 2);
  REQUIRE(pairs.size() == 2);
  CHECK(pairs[0].truth == 0);  // 0.375 for class 1
  CHECK(pairs[0].other == 1);
  CHECK(pairs[0].amount == doctest::Approx(0.375));
  const auto kl = disagreement(Tensor::zeros({3, 3}), v, 1);
  // KL((1/2, 1/4, 1/4) || uniform) = log 3 - 1.5 log 2
  CHECK(kl[0] == doctest::Approx(std::log(3.0) - 1.5 * std::log(2.0)));
  CHECK(kl[2] == doctest::Approx(0));
  const auto dark = dark_knowledge(v, labels, 1);
  CHECK(dark[0] == doctest::Approx(std::log(2.0)));  // two wrong classes alike
  // Row 1's label is 0: (2/3, 1/3) are left.
  CHECK(dark[1] == doctest::Approx(std::log(3.0) - 2 * std::log(2.0) / 3));
  CHECK(largest(std::vector<double>{1, 3, 3, 2}, 3) == std::vector<std::int64_t>{1, 2, 3});
}

}  // namespace retort
