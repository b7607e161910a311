#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "engine/core/check.h"
#include "engine/core/random.h"
#include "engine/io/npy.h"
#include "engine/io/pickle.h"
#include "engine/io/pickle_text.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"
#include "tests/golden/pickled_dicts_numpy1.h"
#include "tests/golden/pickled_dicts_numpy2.h"

using namespace retort;
using namespace std::string_literals;
using retort::test::error_message;
using retort::test::Scratch;

namespace {

using Dict = std::vector<std::pair<std::string, std::vector<float>>>;

/// What tests/golden/make_pickled_dicts.py pickled.
const Dict kLogits = {{"cat.1.jpg", {1.5f, -2.25f}},
                      {"dog/\xc3\xa9.jpg", {0.1f, 1e10f}},
                      {"list", {0.5f, 3}},
                      {"tuple", {-7, 2.5e-3f}},
                      {"caf\xc3\xa9", {1.25f, 0x1p40f}}};

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return bytes;
}

std::string object_npy(const std::string& pickle) {
  const std::string header = "{'descr': '|O', 'fortran_order': False, 'shape': (), }\n";
  return "\x93NUMPY\x01\0"s + static_cast<char>(header.size()) + '\0' + header + pickle;
}

Dict read(const std::string& bytes) {
  const Scratch scratch;
  return read_pickled_dict(scratch.write("dict.npy", bytes));
}

/// What reading a .npy with this pickle throws, its path replaced by FILE.
std::string refusal(const std::string& pickle) {
  const Scratch scratch;
  const std::string path = scratch.write("dict.npy", object_npy(pickle));
  std::string message = error_message([&] { read_pickled_dict(path); });
  if (message.starts_with(path)) message.replace(0, path.size(), "FILE");
  return message;
}

std::string refused(const std::string& what) {
  return "FILE: pickle asks for " + what + "; only plain dictionaries of arrays are read; nothing was executed";
}

// The pieces of protocol 2 pickles.
const std::string kReconstruct = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01\x62tR"s;

std::string object_array(const std::string& element) {
  return "\x80\x02"s + kReconstruct +
         "(K\x01)cnumpy\ndtype\n(U\x02O8K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89]"s +
         element + "atb.";
}

std::string vector_array(const std::string& descr, const std::string& shape, const std::string& data,
                         char order = '<') {
  return kReconstruct + "(K\x01"s + shape + "cnumpy\ndtype\n(U"s + static_cast<char>(descr.size()) + descr +
         "K\x00K\x01tR(K\x03U\x01"s + order + "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"s +
         static_cast<char>(data.size()) + data + "tb";
}

/// A Python 2 dict of one entry, "a.jpg".
std::string dict_of(const std::string& value) {
  return "}U\x05"
         "a.jpg"s +
         value + "s";
}

}  // namespace

TEST_CASE("a dict that NumPy 1 or 2 saved in any protocol reads back, in order") {
  for (const auto& by_protocol : {test::pickled_dicts_numpy1, test::pickled_dicts_numpy2})
    for (int protocol = 0; protocol <= 5; ++protocol) {
      INFO(protocol);
      const Scratch scratch;
      const std::string path = scratch.write("dict.npy", from_hex(by_protocol[protocol]));
      CHECK(is_pickled_npy(path));
      CHECK(read_pickled_dict(path) == kLogits);
    }
}

TEST_CASE("Python 2's pickles: byte strings as keys and data") {
  const std::string one_two = "\0\0\x80\x3f\0\0\0\x40"s;
  CHECK(read(object_npy(object_array(dict_of(vector_array("f4", "K\x02\x85", one_two))))) == Dict{{"a.jpg", {1, 2}}});
  CHECK(read(object_npy(object_array("(S'it\\'s\\x41\\n'\n(F1.5\nI-3\nL12L\nI0\nld"))) ==
        Dict{{"it'sA\n", {1.5f, -3, 12, 0}}});
}

TEST_CASE("an empty dict is empty") { CHECK(read(object_npy(object_array("}"))).empty()); }

TEST_CASE("a global beyond NumPy's reconstruction is refused by name, however it is asked for") {
  const std::string command = "(S'touch /tmp/owned'\ntR.";
  CHECK(refusal("cos\nsystem\n" + command) == refused("os.system"));
  CHECK(refusal("cposix\nsystem\n" + command) == refused("posix.system"));
  CHECK(refusal("c__builtin__\neval\n" + command) == refused("__builtin__.eval"));
  CHECK(refusal("\x80\x04\x8c\x08"
                "builtins\x8c\x04"
                "exec\x93" +
                command) == refused("builtins.exec"));
  CHECK(refusal("\x80\x04\x8c\x02os\x8c\x06system\x93" + command) == refused("os.system"));
  CHECK(refusal("(S'touch /tmp/owned'\nios\nsystem\n.") == refused("os.system (INST)"));
  CHECK(refusal("ccollections\nOrderedDict\n)R.") == refused("collections.OrderedDict"));
  CHECK(refusal("cnumpy\nfromfile\n.") == refused("numpy.fromfile"));
  CHECK(refusal("cnumpy.core.multiarray\nscalar.__class__\n.") == refused("numpy.core.multiarray.scalar.__class__"));
  // Names that run together to an allowed one.
  CHECK(refusal("cnumpy.core\nmultiarray.scalar\n.") == refused("numpy.core.multiarray.scalar"));
  CHECK(refusal("cos\n\x1b[31m\n.") == refused("os.?[31m"));
}

TEST_CASE("an opcode beyond plain data is refused by name") {
  CHECK(refusal("(cnumpy\ndtype\nU\x02"
                "f4o.") == refused("opcode OBJ"));
  CHECK(refusal("cnumpy\ndtype\n)\x81.") == refused("opcode NEWOBJ"));
  CHECK(refusal("\x80\x04"
                "cnumpy\ndtype\n)}\x92.") == refused("opcode NEWOBJ_EX"));
  CHECK(refusal("\x82\x01.") == refused("opcode EXT1"));
  CHECK(refusal("\x83\x01\x01.") == refused("opcode EXT2"));
  CHECK(refusal("\x84\x01\x01\x01\x01.") == refused("opcode EXT4"));
  CHECK(refusal("Pid\n.") == refused("opcode PERSID"));
  CHECK(refusal("NQ.") == refused("opcode BINPERSID"));
  CHECK(refusal("\x8f.") == refused("opcode EMPTY_SET"));
  CHECK(refusal("\x97.") == refused("opcode NEXT_BUFFER"));
  CHECK(refusal("\x7f.") == refused("opcode 0x7f"));
  CHECK(refusal("\x80\x06.") == refused("protocol 6"));
  CHECK(refusal("N)R.") == refused("a call (REDUCE) of what is no function"));
  CHECK(refusal("cnumpy\nndarray\n)R.") == refused("a call of numpy.ndarray"));
  CHECK(refusal("}}b.") == refused("the state of an object (BUILD)"));
  CHECK(refusal("cnumpy\nndarray\n}b.") == refused("the state of an object (BUILD)"));
}

TEST_CASE("a malformed pickle says what is wrong") {
  const auto says = [](const std::string& pickle, const std::string& what) {
    const std::string message = refusal(pickle);
    INFO(message);
    CHECK(message.starts_with("FILE: malformed pickle: " + what + ", at byte "));
    CHECK(message.ends_with("; save it again"));
  };
  says("R", "nothing on the stack");
  says("(0", "nothing on the stack");
  says("t", "no mark on the stack");
  says("h\x05", "a reference to nothing");
  says("N.N", "bytes after its end");
  says("Ix\n", "a number that is none");
  says("F1.5x\n", "a number that is none");
  says("\x8a\x09", "an integer beyond 64 bits");
  says("NNa", "items for what is no list");
  says("]NNs", "items for what is no dict");
  says("(Nd", "a key without a value");
  says("}(Nu", "a key without a value");
  says("Sno quotes\n", "text that cannot be decoded");
  says("V\\ud83d\n", "text that cannot be decoded");
  says("NN\x93", "a global without a name");
  says("cnumpy\ndtype\n)R", "a dtype without a name");
  says("cnumpy\ndtype\nNR", "a call without a tuple of arguments");
  says("cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\ntR", "an array of another class");
  says("c_codecs\nencode\n(Va\nVutf-8\ntR", "an encoding other than latin1");
  says(
      "cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02"
      "f4tRU\x01xtR",
      "a scalar of another size");
  CHECK(refusal("").ends_with("pickle is cut short; copy or save it again"));
}

TEST_CASE("what a pickle holds must be a dict of vectors") {
  const auto says = [](const std::string& dict, const std::string& what) {
    const std::string message = refusal(object_array(dict));
    INFO(message);
    CHECK(message.starts_with("FILE: " + what));
    CHECK(message.find("; save") != std::string::npos);
  };
  const std::string eight = "\0\0\x80\x3f\0\0\0\x40"s;
  says("]", "its pickle holds no dict");
  says("}NNs", "entry 0 of its dict has a key that is no string");
  says(dict_of("N"), "entry 'a.jpg' is no vector");
  says(dict_of("(Nl"), "entry 'a.jpg' is a list of something else than numbers");
  says(dict_of("]") +
           "U\x05"
           "a.jpg]s",
       "entry 'a.jpg' is there twice");
  says(dict_of(kReconstruct), "entry 'a.jpg' is no complete array");
  says(dict_of(vector_array("f4", "K\x02K\x01\x86", eight)), "entry 'a.jpg' has 2 axes, expected one vector");
  says(dict_of(vector_array("f4", "K\x03\x85", eight)), "entry 'a.jpg' has 2 elements, but shape (3,)");
  says(dict_of(vector_array("f4", "K\x02\x85", eight, '>')), "entry 'a.jpg' has dtype '>f4', expected '<f4' or '<f8'");
  says(dict_of(vector_array("i8", "K\x01\x85", eight)), "entry 'a.jpg' has dtype '<i8'");
  says(dict_of(vector_array("f4", "K\x01\x85", "abc")), "entry 'a.jpg' has elements cut short");
  CHECK(refusal("}.").starts_with("FILE: its pickle holds no dict"));
}

TEST_CASE("a small pickle cannot take much memory") {
  // One vector of 250,000 floats, referred to by 4,000 names: four gigabytes.
  std::string list = "(";
  for (int i = 0; i < 250'000; ++i) list += 'K', list += '\1';
  std::string bomb = "}(U\5first" + list + "lq\1";
  for (int i = 1000; i < 5000; ++i) bomb += "U\4" + std::to_string(i) + "h\1";
  CHECK(refusal(object_array(bomb + "u")).find("makes the dict larger than its file can hold") != std::string::npos);
  // One long text encoded again and again.
  std::string encode = "X\x40\x42\x0f\0"s + std::string(1'000'000, 'a') + "q\1" + "c_codecs\nencode\nq\2Vlatin1\nq\3";
  for (int i = 0; i < 1000; ++i) encode += "h\2h\1h\3\x86R";
  CHECK(refusal(encode + ".").find("text that grows without bound") != std::string::npos);
  // Lengths beyond the file.
  CHECK(refusal("X\xff\xff\xff\xff").find("cut short") != std::string::npos);
  CHECK(refusal("\x8e" + std::string(8, '\xff')).find("cut short") != std::string::npos);
}

TEST_CASE("a pickle of small values shares them, and one of empty containers is refused") {
  const std::string nothings(1'000'000, 'N');
  const std::vector<std::uint8_t> bytes = [&] {
    const std::string all = "(" + nothings + "l.";
    return std::vector<std::uint8_t>(all.begin(), all.end());
  }();
  const pickle::Pickle content(bytes, "FILE");
  REQUIRE(content.root().items.size() == nothings.size());
  CHECK(content.root().items.front() == content.root().items.back());
  CHECK(refusal("(" + std::string(1'000'000, ']') + "l.").find("more values than its bytes can hold") !=
        std::string::npos);
}

TEST_CASE("a list within itself, and deep nesting, are no trouble") {
  CHECK(refusal(object_array(dict_of("]q\1h\1a"))).find("a list of something else") != std::string::npos);
  std::string deep(200'000, ']');
  deep += std::string(199'999, 'a');
  CHECK(refusal(object_array(dict_of(deep))).find("a list of something else") != std::string::npos);
}

TEST_CASE("every truncation of every protocol is refused") {
  for (const auto& by_protocol : {test::pickled_dicts_numpy1, test::pickled_dicts_numpy2})
    for (int protocol = 0; protocol <= 5; ++protocol) {
      const std::string whole = from_hex(by_protocol[protocol]);
      const std::string pickle = whole.substr(128);
      const std::vector<std::uint8_t> bytes(pickle.begin(), pickle.end());
      CHECK(pickle::Pickle(bytes, "FILE").root().kind == pickle::Kind::array);
      bool refused_all = true;
      for (std::size_t size = 0; size < bytes.size(); ++size) {
        // A copy of this very size: a sanitizer sees a read beyond it.
        const std::vector<std::uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
        refused_all &= error_message([&] { pickle::Pickle(cut, "FILE"); }) != "(nothing thrown)";
      }
      CHECK(refused_all);
    }
}

TEST_CASE("thousands of damaged pickles are read or refused, nothing else") {
  std::int64_t read_anyway = 0, refused = 0;
  const Scratch scratch;
  for (int protocol = 0; protocol <= 5; ++protocol) {
    const std::string whole = from_hex(test::pickled_dicts_numpy2[protocol]);
    for (std::uint64_t trial = 0; trial < 800; ++trial) {
      Random random = Random::of(trial, "damage", static_cast<std::uint64_t>(protocol));
      std::string damaged = whole;
      for (std::uint64_t change = 0; change <= random.below(4); ++change) {
        const std::size_t at = 128 + random.below(damaged.size() - 128);
        switch (random.below(4)) {
          case 0: damaged[at] = static_cast<char>(damaged[at] ^ 1 << random.below(8)); break;
          case 1: damaged[at] = static_cast<char>(random.below(256)); break;
          case 2: damaged.erase(at, 1 + random.below(4)); break;
          case 3:
            damaged.insert(at, damaged.substr(128 + random.below(damaged.size() - 128), 1 + random.below(8)));
            break;
        }
      }
      const std::string path = scratch.write("dict.npy", damaged);
      try {
        read_pickled_dict(path);
        ++read_anyway;
      } catch (const Error& error) {
        ++refused;
        if (!std::string_view(error.what()).starts_with(path)) FAIL(error.what());
      }
    }
  }
  CHECK(read_anyway > 0);
  CHECK(refused > 0);
}

TEST_CASE("a .npy that holds no pickle says so") {
  const Scratch scratch;
  const std::string path = scratch / "x.npy";
  write_npy(path, Tensor::from<float>({1}, std::vector<float>{1}));
  CHECK(error_message([&] { read_pickled_dict(path); }) ==
        path +
            ": holds no pickled dict but an array of dtype '<f4'; give a logit store's .npy with its .json beside it");
}

TEST_CASE("text in pickles is decoded") {
  using namespace retort::pickle;
  CHECK(unescape_repr("'a\\x00\\\\\\t\\\"'") == "a\0\\\t\""s);
  CHECK(unescape_repr("\"it's\"") == "it's");
  for (const char* bad : {"", "'", "'a\"", "'a\\'", "'\\q'", "'\\x4'", "'\\x-1'"}) CHECK_FALSE(unescape_repr(bad));
  CHECK(unescape_raw_unicode("a\xe9\\u20ac\\U0001f600\\n") == "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\\n");
  for (const char* bad : {"\\u12", "\\U00110000", "\\udc00"}) CHECK_FALSE(unescape_raw_unicode(bad));
  CHECK(utf8_to_latin1("a\xc3\xa9\xc2\x80") == "a\xe9\x80");
  for (const char* bad : {"\xc3", "\xc3\x41", "\xe2\x82\xac", "\xff"}) CHECK_FALSE(utf8_to_latin1(bad));
  CHECK(utf32_to_utf8("a\0\0\0\xe9\0\0\0\0\0\0\0"s) == "a\xc3\xa9");
  CHECK_FALSE(utf32_to_utf8("abc"));
}
