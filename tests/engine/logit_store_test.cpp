#include "engine/distill/logit_store.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/core/random.h"
#include "engine/distill/teacher.h"
#include "engine/io/csv.h"
#include "engine/io/file.h"
#include "engine/io/npy.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"
#include "tests/golden/pickled_dicts_numpy2.h"

using namespace retort;
using retort::test::error_message;
using retort::test::read_text;
using retort::test::Scratch;

namespace {

using Names = std::vector<std::string>;

/// Named samples whose content is a word.
class Words final : public Dataset {
 public:
  Words(Names classes, std::vector<std::pair<std::string, std::string>> samples) : samples_(std::move(samples)) {
    classes_ = std::move(classes);
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(samples_.size()); }
  const std::string& name(std::int64_t index) const override { return samples_[static_cast<std::size_t>(index)].first; }
  std::int64_t label(std::int64_t) const override { return 0; }
  Image load(std::int64_t) const override { return {}; }
  std::string content_hash(std::int64_t index) const override {
    const std::string& word = samples_[static_cast<std::size_t>(index)].second;
    return retort::content_hash({reinterpret_cast<const std::uint8_t*>(word.data()), word.size()});
  }

 private:
  std::vector<std::pair<std::string, std::string>> samples_;
};

const Names kClasses = {"cat", "dog"};

Words images() { return {kClasses, {{"cat/1.jpg", "meow"}, {"cat/2.jpg", "purr"}, {"dog/1.jpg", "woof"}}}; }

LogitStore store_of(const Dataset& dataset, std::int64_t views = 1) {
  LogitStore store;
  store.views = views;
  for (std::int64_t row = 0; row < views * dataset.size(); ++row) {
    store.names.push_back(dataset.name(row % dataset.size()));
    store.hashes.push_back(dataset.content_hash(row % dataset.size()));
  }
  store.classes = kClasses;
  std::vector<float> values;
  for (std::size_t i = 0; i < store.names.size() * 2; ++i) values.push_back(0.1f * static_cast<float>(i) - 0.25f);
  store.logits = Tensor::from<float>({views * dataset.size(), 2}, values);
  store.teacher = "0123456789abcdef";
  store.preprocessing = {{224, 3, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}}, {28, 1, {0.1307}, {0.3081}}};
  store.augmentation.flip = views > 1;
  store.augmentation.jitter = views > 1;
  store.seed = ~std::uint64_t{0};
  store.combine = "geometric";
  return store;
}

bool same_logits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

/// A store on disk of which one thing is changed; what reading it throws, the folder removed from the message.
template <class Change>
std::string refusal(const Change& change) {
  const Scratch scratch;
  const std::string path = scratch / "logits.npy";
  write_logit_store(path, store_of(images()), "");
  change(scratch);
  std::string message = error_message([&] { read_logit_store(path, kClasses); });
  const std::string folder = scratch / "";
  for (std::size_t at; (at = message.find(folder)) != message.npos;) message.erase(at, folder.size());
  return message;
}

/// As refusal, one key of the index replaced.
std::string refusal_of_index(const std::string& key, const nlohmann::json& value) {
  return refusal([&](const Scratch& scratch) {
    auto index = nlohmann::json::parse(read_text(scratch / "logits.json"));
    index[key] = value;
    scratch.write("logits.json", index.dump());
  });
}

constexpr const char* kAgain = "; write the logits again with `retort logits`";

}  // namespace

TEST_CASE("a store comes back to the bit, with all that its index knows") {
  for (const std::int64_t views : {1, 3}) {
    const Scratch scratch;
    const LogitStore store = store_of(images(), views);
    write_logit_store(scratch / "logits.npy", store, scratch / "logits.csv");
    CHECK(scratch.list() == Names{"logits.csv", "logits.json", "logits.npy"});
    const LogitStore back = read_logit_store(scratch / "logits.npy", {});
    CHECK(same_logits(back.logits.tensor(), store.logits.tensor()));
    CHECK(back.names == store.names);
    CHECK(back.hashes == store.hashes);
    CHECK(back.classes == store.classes);
    CHECK(back.teacher == store.teacher);
    CHECK(back.preprocessing == store.preprocessing);
    CHECK(back.views == views);
    CHECK(back.samples() == 3);
    CHECK(back.augmentation.flip == store.augmentation.flip);
    CHECK(back.augmentation.crop == store.augmentation.crop);
    CHECK(back.augmentation.jitter == store.augmentation.jitter);
    CHECK(back.seed == store.seed);
    CHECK(back.combine == store.combine);
    CHECK(match_logit_store(back, "logits.npy", images()) == std::vector<std::int64_t>{0, 1, 2});

    // The CSV holds the first view.
    const LogitStore table = read_logit_store(scratch / "logits.csv", {});
    CHECK(table.names == Names{"cat/1.jpg", "cat/2.jpg", "dog/1.jpg"});
    CHECK(table.classes == kClasses);
    CHECK(table.hashes.empty());
    CHECK(table.views == 1);
    CHECK(std::memcmp(table.logits.tensor().raw(), store.logits.tensor().raw(), table.logits.tensor().bytes()) == 0);
  }
}

TEST_CASE("the index is JSON with documented keys, the array a plain .npy") {
  const Scratch scratch;
  const LogitStore store = store_of(images(), 2);
  write_logit_store(scratch / "logits.npy", store, "");
  CHECK(same_logits(read_npy(scratch / "logits.npy"), store.logits.tensor()));
  const auto index = nlohmann::json::parse(read_text(scratch / "logits.json"));
  CHECK(index["format"] == "retort-logits");
  CHECK(index["version"] == 1);
  CHECK(index["logits"] == file_hash(scratch / "logits.npy"));
  CHECK(index["names"][5] == "dog/1.jpg");
  CHECK(index["hashes"][5] == images().content_hash(2));
  CHECK(index["classes"] == kClasses);
  CHECK(index["views"] == 2);
  CHECK(index["augmentation"] == "flip,jitter");
  CHECK(index["preprocessing"][0]["image_size"] == 224);
  CHECK(index["preprocessing"][1]["mean"][0] == 0.1307);
  write_logit_store(scratch / "logits.npy", store_of(images()), "");
  CHECK(nlohmann::json::parse(read_text(scratch / "logits.json"))["augmentation"] == "none");
}

TEST_CASE("while a store is replaced its index reads the logits before and the logits after") {
  for (const bool indexed : {true, false}) {  // an array alone may be what is replaced
    const Scratch scratch;
    LogitStore before = store_of(images()), after = store_of(images());
    after.teacher = "another";
    after.logits.tensor().data<float>()[0] += 1;
    write_logit_store(scratch / "after.npy", after, "");
    write_logit_store(scratch / "s.npy", before, "");
    const auto last = nlohmann::json::parse(read_text(scratch / "s.json"));
    if (!indexed) std::filesystem::remove(scratch / "s.json");

    // A folder in the way of the last rename: the program ends between the two.
    auto both = nlohmann::json::parse(read_text(scratch / "after.json"));
    both["previous"] = indexed ? last : nlohmann::json{{"logits", last["logits"]}};
    scratch.write("s.json", both.dump());
    const RowNames names = [&](std::int64_t) { return before.names; };
    const LogitStore old = read_logit_store(scratch / "s.npy", kClasses, names);
    CHECK(same_logits(old.logits.tensor(), before.logits.tensor()));
    CHECK(old.names == before.names);
    CHECK(old.teacher == (indexed ? before.teacher : ""));

    std::filesystem::copy_file(scratch / "after.npy", scratch / "s.npy",
                               std::filesystem::copy_options::overwrite_existing);
    const LogitStore fresh = read_logit_store(scratch / "s.npy", kClasses);
    CHECK(same_logits(fresh.logits.tensor(), after.logits.tensor()));
    CHECK(fresh.teacher == "another");

    // Another write leaves nothing of it.
    write_logit_store(scratch / "s.npy", before, "");
    CHECK(nlohmann::json::parse(read_text(scratch / "s.json")) == last);
  }
}

TEST_CASE("an index of many keys, or a deep one, is refused in no more time than its size") {
  std::string many = "{";
  for (int i = 0; i < 200'000; ++i) many += "\"" + std::to_string(i) + "\":0,";
  const std::clock_t start = std::clock();  // of the processor: a machine may be busy
  const auto with_index = [](const std::string& index) {
    return refusal([&](const Scratch& scratch) { scratch.write("logits.json", index); });
  };
  CHECK(with_index(many + "\"format\":1}").starts_with("logits.json: "));
  CHECK(std::clock() - start < 5 * CLOCKS_PER_SEC);
  CHECK(with_index(std::string(75'000, '[')).find("nested more than 32 deep") != std::string::npos);
}

TEST_CASE("a store whose parts disagree is refused") {
  CHECK(refusal([](const Scratch& scratch) { std::filesystem::remove(scratch / "logits.json"); }) ==
        "logits.json: missing, so the rows of logits.npy have no names; put the index beside it, or give the logits as "
        "a CSV");
  CHECK(refusal([](const Scratch& scratch) {
          write_npy(scratch / "logits.npy", Tensor::from<float>({3, 2}, std::vector<float>{1, 2, 3, 4, 5, 6}));
        }) == std::string("logits.npy: not the logits that logits.json was written with") + kAgain);
  CHECK(refusal([](const Scratch& scratch) {
          scratch.write("logits.json", "{");
        }).starts_with("logits.json: not an index of logits ("));
  CHECK(refusal([](const Scratch& scratch) {
          scratch.write("logits.json", "[]");
        }).starts_with("logits.json: not an index of logits ("));
  CHECK(refusal([](const Scratch& scratch) {
          scratch.write("logits.npy", "x");
        }).starts_with("logits.npy: not a .npy file"));
  CHECK(refusal_of_index("version", 2) ==
        std::string("logits.json: format \"retort-logits\" version 2, expected retort-logits version 1") + kAgain);
  CHECK(refusal_of_index("names", {"a", "b"}) == std::string("logits.npy: 3 rows of logits, but 2 names") + kAgain);
  CHECK(refusal_of_index("names", {"a", "b", "a"}) == std::string("logits.npy: 'a' has two rows") + kAgain);
  CHECK(refusal_of_index("names", 3).starts_with("logits.json: not an index of logits ("));
  CHECK(refusal_of_index("hashes", {"a"}) == std::string("logits.npy: 3 rows of logits, but 1 hashes") + kAgain);
  CHECK(refusal_of_index("classes", {"cat"}) ==
        "logits.npy: 2 logits a row, but 1 classes; give logits of these very classes, one column each");
  CHECK(refusal_of_index("classes", {"cat", "cat"}) ==
        std::string("logits.json: names the class 'cat' twice") + kAgain);
  CHECK(refusal_of_index("views", 2) == std::string("logits.npy: 3 rows are not 2 views of each image") + kAgain);
  CHECK(refusal_of_index("views", 0) == std::string("logits.npy: 3 rows are not 0 views of each image") + kAgain);
  CHECK(refusal_of_index("views", 3) ==
        std::string("logits.npy: row 1 is of 'cat/2.jpg', expected a view of 'cat/1.jpg'") + kAgain);
  for (const char* key : {"views", "seed", "top_k"})
    for (const double number : {1.5, 1e300})
      CHECK(refusal_of_index(key, number).starts_with("logits.json: not an index of logits ("));
  CHECK(refusal_of_index("seed", -1).starts_with("logits.json: not an index of logits ("));
  CHECK(refusal_of_index("augmentation", "spin") ==
        std::string("logits.json: an augmentation that is not known") + kAgain);
  const Scratch scratch;
  CHECK(error_message([&] { read_logit_store(scratch / "none.npy", {}); }).find("No such file") != std::string::npos);
  CHECK(error_message([&] { read_logit_store("logits.json", {}); }) ==
        "logits.json: expected logits in a .npy or a .csv; give one of these");
}

TEST_CASE("logits that are not finite, and names that are no UTF-8, are refused before anything is written") {
  const Scratch scratch;
  const std::string path = scratch / "logits.npy";
  LogitStore store = store_of(images());
  store.logits.tensor().data<float>()[3] = NAN;
  CHECK(error_message([&] { write_logit_store(path, store, ""); }) ==
        path + ": a logit of 'cat/2.jpg' is nan, expected finite numbers; check the teacher");
  store = store_of(images());
  store.names[1] = "caf\xe9.jpg";
  CHECK(error_message([&] { write_logit_store(path, store, ""); }).ends_with("which is not UTF-8; rename it"));
  CHECK(error_message([&] {
          write_logit_store(scratch / "logits", store_of(images()), "");
        }).ends_with("expected a name that ends in .npy; rename it"));
  CHECK(scratch.list().empty());
}

TEST_CASE("a pickled dict is imported under the classes given") {
  const Scratch scratch;
  std::string bytes;
  const std::string hex = test::pickled_dicts_numpy2[4];
  for (std::size_t i = 0; i < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  const std::string path = scratch.write("old.npy", bytes);
  const LogitStore store = read_logit_store(path, kClasses);
  CHECK(store.logits.tensor().shape() == Shape{5, 2});
  CHECK(store.logits.tensor().data<float>()[1] == -2.25f);
  CHECK(store.names[0] == "cat.1.jpg");
  CHECK(store.classes == kClasses);
  CHECK(store.hashes.empty());
  CHECK(store.teacher.empty());
  CHECK(read_logit_store(path, {}).classes == Names{"0", "1"});
  CHECK(error_message([&] {
          read_logit_store(path, {"a", "b", "c"});
        }) ==
        path + ": 2 logits for 'cat.1.jpg', expected one for each of 3 classes; save logits of these very classes");
}

TEST_CASE("an array alone takes its names from whoever knows the images, its columns from the classes") {
  const Scratch scratch;
  const std::string path = scratch / "scores.npy";
  Names names = {"a", "b", "c"};
  std::int64_t asked = 0;
  const RowNames row_names = [&](std::int64_t rows) {
    asked = rows;
    return names;
  };
  const std::vector<double> values = {0.5, -2.25, 3, 1e-3, 7, -8};
  for (const DType dtype : {DType::f32, DType::f64}) {
    write_npy(path, Tensor::from<double>({3, 2}, values).to(dtype));
    const LogitStore store = read_logit_store(path, kClasses, row_names);
    CHECK(asked == 3);
    CHECK(store.names == names);
    CHECK(store.classes == kClasses);
    CHECK(store.hashes.empty());
    CHECK(store.remark.empty());
    CHECK(store.logits.tensor().shape() == Shape{3, 2});
    for (std::size_t i = 0; i < values.size(); ++i)
      CHECK(store.logits.tensor().span<float>()[i] == static_cast<float>(values[i]));
    CHECK(read_logit_store(path, {}, row_names).classes == Names{"0", "1"});
  }
  const auto refused = [&](const Tensor& array) {
    write_npy(path, array);
    return error_message([&] { read_logit_store(path, kClasses, row_names); }).substr(path.size());
  };
  CHECK(refused(Tensor::zeros({3, 3})) ==
        ": 3 logits a row, but 2 classes; give logits of these very classes, one column each, in their order");
  CHECK(refused(Tensor::zeros({6})) == ": holds an array of shape [6], expected scores as [images, classes]");
  CHECK(refused(Tensor::zeros({3, 2}, DType::i64)) ==
        ": dtype '<i8', expected scores as float16, float32 or float64; save x.astype('<f4')");
  CHECK(refused(Tensor::full({3, 2}, NAN)) == ": a logit of 'a' is nan, expected finite numbers; check the teacher");
  CHECK(refused(Tensor::full({3, 2}, 1e300, DType::f64)) ==
        ": a logit of 'a' is inf, expected finite numbers; check the teacher");
  write_npy(path, Tensor::full({3, 2}, 0.5));
  CHECK(read_logit_store(path, kClasses, row_names).remark.find("taken for probabilities") != std::string::npos);
}

TEST_CASE("a table of probabilities gives their logarithms, and says what is lost") {
  const Scratch scratch;
  const auto read = [&](const std::string& rows) {
    return read_logit_store(scratch.write("scores.csv", "name,cat,dog\n" + rows), kClasses);
  };
  const LogitStore store = read("a,0.75,0.25\nb,1,0\nc,0.33,0.66\n");  // printed with two digits
  CHECK(store.remark.find("taken for probabilities") != std::string::npos);
  CHECK(store.remark.starts_with(scratch / "scores.csv"));
  const float* z = store.logits.tensor().data<float>();
  CHECK(z[0] - z[1] == doctest::Approx(std::log(3.0)));
  CHECK(z[2] - z[3] == doctest::Approx(-std::log(1e-7)));  // what rounded to 0 is taken for 1e-7
  CHECK(read("a,1,0\nb,0,1\n").logits.tensor().data<float>()[1] == doctest::Approx(std::log(1e-7)));
  // Logits: a value below 0 or above 1, or a row that adds up to something else.
  for (const char* rows : {"a,0.75,0.25\nb,1.5,-0.5\n", "a,0.75,0.25\nb,0.5,0.2\n", "a,2,0\n"}) {
    const LogitStore logits = read(rows);
    CHECK(logits.remark.empty());
    CHECK(logits.logits.tensor().data<float>()[0] == (rows[2] == '2' ? 2.0f : 0.75f));
  }
}

TEST_CASE("a table of predictions gives each the whole weight, and says what is lost") {
  const Scratch scratch;
  for (const char* header : {"class", "prediction", "label"}) {
    const std::string path =
        scratch.write("predicted.csv", text("name,", header, "\na.jpg,dog\nb.jpg,cat\nc.jpg,dog\n"));
    const LogitStore store = read_logit_store(path, kClasses);
    CHECK(store.names == Names{"a.jpg", "b.jpg", "c.jpg"});
    CHECK(store.classes == kClasses);
    CHECK(store.logits.tensor().span<float>()[0] == 0);
    CHECK(store.logits.tensor().span<float>()[1] == 50);
    CHECK(store.logits.tensor().span<float>()[2] == 50);
    CHECK(store.remark.find("predictions alone") != std::string::npos);
    CHECK(read_logit_store(path, {}).classes == kClasses);  // those predicted, by name
    CHECK(error_message([&] {
            read_logit_store(path, {"cat", "hen"});
          }) == path + ": predicts 'dog' for 'a.jpg', which is no class of the data; use the data's names");
  }
  const auto message = [&](const char* content) {
    const std::string path = scratch.write("predicted.csv", content);
    std::string text = error_message([&] { read_logit_store(path, kClasses); });
    return text.erase(0, path.size());
  };
  CHECK(message("name,class\na,cat\na,dog\n") == ":3: 'a' a second time; keep one row of it");
  CHECK(message("name,class\na,cat,dog\n") == ":2: 3 fields, expected a name and a class; complete the row");
  CHECK(message("name,class\n") == ": no rows below the header; add one for each image");
  // Each row another class: a few megabytes that ask for 360 GB.
  std::string many = "name,class\n";
  for (int row = 0; row < 300'000; ++row) many += text(row, ",c", row, '\n');
  const std::string path = scratch.write("predicted.csv", many);
  CHECK(error_message([&] { read_logit_store(path, {}); }).starts_with("out of memory: asked for "));
}

TEST_CASE("rows are found by name, whatever the order") {
  const Words reversed(kClasses, {{"dog/1.jpg", "woof"}, {"cat/2.jpg", "purr"}, {"cat/1.jpg", "meow"}});
  CHECK(match_logit_store(store_of(images()), "F", reversed) == std::vector<std::int64_t>{2, 1, 0});
  const Words unlabelled({}, {{"dog/1.jpg", "woof"}, {"cat/2.jpg", "purr"}, {"cat/1.jpg", "meow"}});
  CHECK(match_logit_store(store_of(images()), "F", unlabelled) == std::vector<std::int64_t>{2, 1, 0});
}

TEST_CASE("the first at fault is named: missing, changed, extra") {
  const LogitStore store = store_of(images());
  const auto match = [&](const LogitStore& logits, const Words& dataset) {
    return error_message([&] { match_logit_store(logits, "F.npy", dataset); });
  };
  CHECK(match(store, {kClasses, {{"cat/0.jpg", "hiss"}, {"cat/1.jpg", "meow!"}}}) ==
        "cat/0.jpg: has no logits in F.npy; write the logits again from these images");
  CHECK(match(store, {kClasses, {{"cat/1.jpg", "meow"}, {"cat/2.jpg", "purr!"}, {"dog/0.jpg", ""}}}) ==
        "cat/2.jpg: its content changed since F.npy was written; restore it or write the logits again");
  CHECK(match(store, {kClasses, {{"cat/1.jpg", "meow"}, {"dog/1.jpg", "woof"}}}) ==
        "cat/2.jpg: has logits in F.npy, but is not among the images; restore it or write the logits again from these "
        "images");
  // Names without folders are an import's privilege.
  CHECK(match(store, {kClasses, {{"x/cat/1.jpg", "meow"}}}).starts_with("x/cat/1.jpg: has no logits"));
}

TEST_CASE("another class list is refused") {
  const auto match = [](const Names& classes) {
    const Words dataset(classes, {{"cat/1.jpg", "meow"}, {"cat/2.jpg", "purr"}, {"dog/1.jpg", "woof"}});
    return error_message([&] { match_logit_store(store_of(images()), "F.npy", dataset); });
  };
  CHECK(match({"cat", "dog", "hen"}) ==
        "F.npy: logits of 2 classes, the images have 3; use logits of the same classes");
  CHECK(match({"cat", "hen"}) == "F.npy: class 1 is 'dog', but 'hen' of the images; use logits of the same classes");
  CHECK(match({"dog", "cat"}) ==
        "F.npy: class 0 is 'cat', but 'dog' of the images; the classes are the same in another order: reorder the "
        "columns");
}

TEST_CASE("an import is matched by full names, or by file names where these are unique") {
  LogitStore store = store_of(images());
  store.hashes.clear();
  const Words changed(kClasses, {{"cat/1.jpg", "?"}, {"cat/2.jpg", "?"}, {"dog/1.jpg", "?"}});
  CHECK(match_logit_store(store, "F", changed) == std::vector<std::int64_t>{0, 1, 2});

  const Words photos(kClasses, {{"cat/cat.1.jpg", ""}, {"cat/cat.2.jpg", ""}, {"dog/dog.1.jpg", ""}});
  store.names = {"dog.1.jpg", "cat.2.jpg", "cat.1.jpg"};
  CHECK(match_logit_store(store, "F", photos) == std::vector<std::int64_t>{2, 1, 0});
  store.names = {"dog.1.jpg", "cat.2.jpg", "cat.3.jpg"};
  CHECK(error_message([&] { match_logit_store(store, "F.npy", photos); }) ==
        "cat/cat.1.jpg: has no logits in F.npy; write the logits again from these images");
  // It may know more images than these.
  store.names = {"dog.1.jpg", "cat.2.jpg", "cat.1.jpg"};
  CHECK(match_logit_store(store, "F", Words(kClasses, {{"cat/cat.1.jpg", ""}})) == std::vector<std::int64_t>{2});
  store.names = {"1.jpg", "2.jpg", "3.jpg"};
  CHECK(error_message([&] { match_logit_store(store, "F.npy", images()); }) ==
        "F.npy: names files without their folders, but both cat/1.jpg and dog/1.jpg are there; name them with their "
        "folders");
  // One full name that matches, and it is full names that count.
  store.names = {"cat/1.jpg", "2.jpg", "dog/1.jpg"};
  CHECK(error_message([&] { match_logit_store(store, "F.npy", images()); }).starts_with("cat/2.jpg: has no logits"));
}

namespace {

/// Logits of a teacher that is sure to differing degrees.
Tensor drawn_logits(std::int64_t rows, std::int64_t classes) {
  Tensor logits = Tensor::empty({rows, classes});
  fill_normal(logits, 0, 4, Random(11));
  return logits;
}

std::vector<double> softmax_of(std::span<const float> row) {
  std::vector<double> p(row.begin(), row.end());
  const double most = *std::ranges::max_element(p);
  double sum = 0;
  for (double& value : p) sum += value = std::exp(value - most);
  for (double& value : p) value /= sum;
  return p;
}

/// A store of numbered classes and pictures.
LogitStore plain_store(std::int64_t rows, std::int64_t classes) {
  LogitStore store;
  for (std::int64_t row = 0; row < rows; ++row) {
    store.names.push_back("picture " + std::to_string(row));
    store.hashes.push_back("0123456789abcdef");
  }
  for (std::int64_t i = 0; i < classes; ++i) store.classes.push_back("class " + std::to_string(i));
  return store;
}

}  // namespace

TEST_CASE("a store of f16 is off by half a unit in the last place, and says what does not fit") {
  const Scratch scratch;
  const std::string path = scratch / "half.npy";
  LogitStore store = plain_store(50, 7);
  const Tensor logits = drawn_logits(50, 7);
  store.logits = logits;
  const LogitSource source = [&](const LogitSink& sink) { store.logits.each(sink); };
  write_logit_store(path, store, source, "", {.half = true});
  CHECK(std::filesystem::file_size(path) == 128 + 50 * 7 * 2);
  const LogitStore read = read_logit_store(path, {});
  for (std::int64_t row = 0; row < 50; ++row) {
    std::vector<float> values(7);
    read.logits.read(row, values);
    for (std::int64_t i = 0; i < 7; ++i) {
      const float exact = logits.data<float>()[7 * row + i];
      CHECK(std::fabs(values[static_cast<std::size_t>(i)] - exact) <= std::max(std::fabs(exact) / 2048, 0x1p-25f));
    }
  }
  CHECK(read.logits.hash() == content_hash({static_cast<const std::uint8_t*>(read.logits.tensor().raw()), 50 * 7 * 4}));
  const std::string before = read_text(path);
  logits.data<float>()[7 * 3 + 1] = 70000;
  CHECK(error_message([&] { write_logit_store(path, store, source, "", {.half = true}); }) ==
        path + ": 'picture 3': a logit is 70000, expected at most 65504 for f16; store f32");
  CHECK(read_text(path) == before);
}

TEST_CASE("a store of the highest logits keeps their probabilities and that of the rest") {
  const Scratch scratch;
  const std::string path = scratch / "top.npy";
  constexpr std::int64_t kRows = 60, kClasses = 20;
  LogitStore store = plain_store(kRows, kClasses);
  const Tensor logits = drawn_logits(kRows, kClasses);
  store.logits = logits;
  for (const bool half : {false, true})
    for (const std::int64_t top : {1, 5, 19}) {
      write_logit_store(path, store, [&](const LogitSink& sink) { store.logits.each(sink); }, "",
                        {.half = half, .top = top});
      const LogitStore read = read_logit_store(path, {});
      CHECK(read.classes == store.classes);
      for (std::int64_t row = 0; row < kRows; ++row) {
        const std::span<const float> exact = logits.rows(row, 1).span<float>();
        std::vector<float> values(kClasses);
        read.logits.read(row, values);
        const std::vector<double> p = softmax_of(exact), q = softmax_of(values);
        std::vector<std::size_t> order(kClasses);
        for (std::size_t i = 0; i < kClasses; ++i) order[i] = i;
        std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return exact[a] > exact[b]; });
        double rest = 0, divergence = 0;
        for (std::size_t i = 0; i < kClasses; ++i) {
          const std::size_t c = order[i];
          divergence += p[c] * std::log(p[c] / q[c]);
          if (i >= static_cast<std::size_t>(top)) {
            rest += p[c];
            CHECK(values[c] == values[order[kClasses - 1]]);
            continue;
          }
          if (!half) CHECK(values[c] == exact[c]);
          // Rounding of the rest to float, and in f16 of the logits, of at most 16.
          CHECK(std::fabs(q[c] - p[c]) <= p[c] * (half ? 2 * 16.0 / 2048 : 1e-6) + 1e-7);
        }
        // The bound of stored_logits.h.
        if (!half) CHECK(divergence <= rest * std::log(kClasses - top) + 1e-6);
      }
    }
  // NumPy's own records: the header says their fields.
  CHECK(read_text(path).substr(10, 80).starts_with(
      "{'descr': [('index', '<i4', (19,)), ('logit', '<f2', (19,)), ('rest', '<f4')], '"));
}

TEST_CASE("a damaged row of a top-k store is named") {
  const LogitEncoding encoding{.half = false, .top = 2};
  const std::vector<float> row = {1, 3, 2};
  std::vector<std::uint8_t> bytes(encoding.row_bytes(3));
  encoding.encode(row, bytes);
  std::vector<float> read(3);
  encoding.decode(bytes, read);
  CHECK(read[1] == 3);
  CHECK(read[2] == 2);
  CHECK(read[0] == doctest::Approx(1).epsilon(1e-5));
  const auto damaged = [&](std::size_t at, auto value) {
    std::vector<std::uint8_t> other = bytes;
    std::memcpy(other.data() + at, &value, sizeof value);
    return error_message([&] { encoding.decode(other, read); });
  };
  CHECK(damaged(0, std::int32_t{3}) == "a row names class 3, expected 2 different ones of 3");
  CHECK(damaged(0, std::int32_t{-1}) == "a row names class -1, expected 2 different ones of 3");
  CHECK(damaged(4, std::int32_t{1}) == "a row names class 1, expected 2 different ones of 3");
  CHECK(damaged(8, INFINITY) == "a logit is not finite, expected finite numbers");
  CHECK(damaged(16, 1.0f) == "the rest of a row is 1, expected a probability");
  CHECK(damaged(16, NAN) == "the rest of a row is nan, expected a probability");
}

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
namespace {

/// The most memory that the process had since reset_peak_memory, in MiB.
long peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::atol(line.c_str() + 6) / 1024;
  return -1;
}
bool reset_peak_memory() { return static_cast<bool>(std::ofstream("/proc/self/clear_refs") << "5" << std::flush); }

}  // namespace

TEST_CASE("a store is written, read and taught from in memory that does not grow with it") {
  const Scratch scratch;
  const std::string path = scratch / "large.npy";
  constexpr std::int64_t kRows = 16384, kClasses = 4096;  // 256 MiB
  LogitStore store = plain_store(kRows, kClasses);
  if (!reset_peak_memory()) {
    MESSAGE("not tested: /proc/self/clear_refs cannot be written");
    return;
  }
  const long before = peak_memory();
  REQUIRE(before > 0);
  const LogitSource source = [&](const LogitSink& sink) {
    std::vector<float> values(kClasses);
    for (std::int64_t row = 0; row < kRows; ++row) {
      for (std::int64_t i = 0; i < kClasses; ++i)
        values[static_cast<std::size_t>(i)] = static_cast<float>((row * 31 + i) % 97) / 8;
      sink(values);
    }
  };
  for (const LogitEncoding& encoding : {LogitEncoding{}, LogitEncoding{.half = true}, LogitEncoding{.top = 16}}) {
    write_logit_store(path, store, source, "", encoding);
    LogitStore read = read_logit_store(path, {});
    CHECK(read.logits.rows() == kRows);
    std::vector<std::int64_t> rows(kRows);
    for (std::int64_t i = 0; i < kRows; ++i) rows[static_cast<std::size_t>(i)] = i;
    CachedTeacher teacher(std::move(read), rows);
    Batch batch;
    for (std::int64_t row = 0; row < kRows; row += 8) {
      batch.indices = {row, kRows - 1 - row};
      const Tensor logits = teacher.logits(batch, 0);
      if (encoding.top == 0) CHECK(logits.data<float>()[5] == static_cast<float>((row * 31 + 5) % 97) / 8);
    }
  }
  CHECK(peak_memory() - before < 48);  // the indexes, thrice, and blocks of a MiB
}
#endif
