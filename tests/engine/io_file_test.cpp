#include "engine/io/file.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "engine/core/check.h"
#include "engine/data/image.h"
#include "engine/io/atomic_file.h"
#include "tests/engine/io_scratch.h"
#include "tests/error_message.h"

using namespace retort;
using retort::test::error_message;
using retort::test::read_text;
using retort::test::Scratch;

namespace {

std::string as_text(const std::vector<std::uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

std::vector<std::uint8_t> as_bytes(const std::string& text) { return {text.begin(), text.end()}; }

std::string gzip(const std::string& plain) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string packed(deflateBound(&stream, plain.size()), '\0');
  std::string input = plain;
  stream.next_in = reinterpret_cast<Bytef*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

/// While it lives, a file cannot grow beyond `bytes`: to the writer the same as a disk that is full.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    previous_handler_ = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &previous_);
    rlimit limit = previous_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &previous_);
    signal(SIGXFSZ, previous_handler_);
  }

 private:
  rlimit previous_{};
  void (*previous_handler_)(int);
};

}  // namespace

TEST_CASE("a file reads back as it was written, and nothing else is left in the folder") {
  const Scratch scratch;
  std::string content(100'000, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31);
  for (const std::string& text : {std::string(), std::string("a"), content}) {
    write_atomic(scratch / "file", text);
    CHECK(as_text(read_file(scratch / "file")) == text);
    CHECK(scratch.list() == std::vector<std::string>{"file"});
  }
}

TEST_CASE("reading what cannot be read names the file and the reason") {
  const Scratch scratch;
  const std::string missing = scratch / "missing", folder = scratch / ".";
  CHECK(error_message([&] { read_file(missing); }) ==
        missing + ": cannot read: No such file or directory; check the path and its permissions");
  CHECK(error_message([&] { read_file(folder); }) == folder + ": cannot read: it is a folder; give a path to a file");
  CHECK(error_message([&] { InputFile file(folder); }) ==
        folder + ": cannot read: it is a folder; give a path to a file");
  CHECK(error_message([&] { read_maybe_gzip(missing); }).starts_with(missing + ": cannot read"));
  CHECK(error_message([&] { file_hash(missing); }).starts_with(missing + ": cannot read"));
}

TEST_CASE("an input file reads from any offset and says where it ends") {
  const Scratch scratch;
  const std::string path = scratch.write("file", "0123456789");
  const InputFile file(path);
  CHECK(file.size() == 10);
  std::vector<std::uint8_t> bytes(3);
  file.read(7, bytes);
  CHECK(as_text(bytes) == "789");
  CHECK(error_message([&] { file.read(8, bytes); }) ==
        path + ": ends at byte 10 where more was expected; copy or download it again");
}

TEST_CASE("gzip content is inflated, other content is returned as it is") {
  const Scratch scratch;
  std::string plain;
  for (int i = 0; i < 200'000; ++i) plain += static_cast<char>('a' + i % 101 * i % 23);
  CHECK(as_text(read_maybe_gzip(scratch.write("plain", plain))) == plain);
  CHECK(as_text(read_maybe_gzip(scratch.write("packed.gz", gzip(plain)))) == plain);
  CHECK(as_text(read_maybe_gzip(scratch.write("empty.gz", gzip("")))).empty());
  CHECK(as_text(read_maybe_gzip(scratch.write("nothing", ""))).empty());
  CHECK(as_text(read_maybe_gzip(scratch.write("two.gz", gzip("one,") + gzip("two")))) == "one,two");
  // Highly compressible: the output outgrows its first guess many times.
  CHECK(read_maybe_gzip(scratch.write("zeros.gz", gzip(std::string(5'000'000, '\0')))).size() == 5'000'000);
}

TEST_CASE("a gzip stream cut short anywhere, or corrupt, is an error") {
  const Scratch scratch;
  const std::string packed = gzip("some text that is long enough to be deflated, deflated, deflated");
  for (std::size_t size = 2; size < packed.size(); ++size) {
    const std::string path = scratch.write("cut.gz", packed.substr(0, size));
    CHECK(error_message([&] { read_maybe_gzip(path); }) ==
          path + ": gzip data is cut short; copy or download it again");
  }
  std::string corrupt = packed;
  corrupt[packed.size() - 6] ^= 1;  // the checksum
  const std::string path = scratch.write("corrupt.gz", corrupt);
  CHECK(error_message([&] { read_maybe_gzip(path); }) ==
        path + ": gzip data is corrupt (incorrect data check); copy or download it again");
  const std::string longer = scratch.write("longer.gz", packed + "rest");
  CHECK(error_message([&] { read_maybe_gzip(longer); }) ==
        longer + ": gzip data is followed by something else; copy or download it again");
}

TEST_CASE("writing creates missing folders and replaces what is there") {
  const Scratch scratch;
  const std::string path = scratch / "a/b/file";
  write_atomic(path, std::string("old"));
  write_atomic(path, as_bytes("new"));
  CHECK(read_text(path) == "new");
}

TEST_CASE("writing follows a symbolic link, and leaves a device in its place") {
  const Scratch scratch;
  scratch.write("target", "old");
  std::filesystem::create_symlink("target", scratch / "link");
  write_atomic(scratch / "link", std::string("new"));
  CHECK(std::filesystem::is_symlink(scratch / "link"));
  CHECK(read_text(scratch / "target") == "new");
  write_atomic("/dev/null", std::string("gone"));
  check_writable("/dev/null");
  CHECK(std::filesystem::is_character_file("/dev/null"));
  CHECK(error_message([] { write_atomic("/dev/full", std::string("no")); }) ==
        "/dev/full: cannot write: No space left on device; free space or choose another folder");
}

TEST_CASE("a device or a pipe is refused, not read for ever or waited for") {
  const Scratch scratch;
  const std::string pipe = scratch / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  for (const std::string& path : {pipe, std::string("/dev/zero")}) {
    const std::string refusal = path + ": cannot read: not a regular file; give a path to a file";
    CHECK(error_message([&] { read_file(path); }) == refusal);
    CHECK(error_message([&] { InputFile file(path); }) == refusal);
    CHECK(error_message([&] { read_maybe_gzip(path); }) == refusal);
  }
}

TEST_CASE("a text or a picture that is too large is refused before it is read") {
  const Scratch scratch;
  const std::string path = scratch / "large";
  write_atomic(path, "text");
  REQUIRE(::truncate(path.c_str(), (off_t{1} << 32)) == 0);  // a hole: nothing of it is on the disk
  rusage before{}, after{};
  ::getrusage(RUSAGE_SELF, &before);
  CHECK(error_message([&] { read_text_file(path); }) ==
        path + ": has 4294967296 bytes, and a text that is read whole at most 1073741824; split it");
  CHECK(error_message([&] { read_picture(path); }) ==
        path + ": can't be decoded: more than 1 GiB; replace or remove the file, or pass --skip-bad");
  REQUIRE(::truncate(path.c_str(), off_t{1} << 43) == 0);
  CHECK(error_message([&] { read_file(path); }).starts_with(path + ": has 8.0 TiB, which are read whole, where "));
  CHECK(error_message([&] { read_maybe_gzip(path); }).ends_with("; give another file"));
  ::getrusage(RUSAGE_SELF, &after);
  constexpr long kAnything = 1 << 16;  // KiB, which nothing here comes near
  CHECK(after.ru_maxrss - before.ru_maxrss < kAnything);
  write_atomic(path, std::string("name,a\0b", 8));
  CHECK(error_message([&] { read_text_file(path); }) == path + ": not a text: it has zero bytes; give another file");
}

TEST_CASE("gzip content may not inflate without bound") {
  const Scratch scratch;
  const std::string packed = gzip(std::string(80 << 20, '\0'));  // a thousandth of that
  const std::string path = scratch.write("bomb.gz", packed);
  CHECK(error_message([&] { read_maybe_gzip(path); }) ==
        text(path, ": its ", packed.size(), " bytes inflate to more than ", 32 * packed.size() + (64 << 20),
             "; unpack it with gunzip if it is what it should be"));
}

TEST_CASE("a file keeps the mode of the one before it, and a new one has the user's") {
  const Scratch scratch;
  const auto mode = [](const std::string& path) {
    struct stat status {};
    REQUIRE(stat(path.c_str(), &status) == 0);
    return status.st_mode & 0777;
  };
  const std::string path = scratch / "file";
  write_atomic(path, std::string("secret"));
  const mode_t mask = umask(0);
  umask(mask);
  CHECK(mode(path) == (0666 & ~mask));
  REQUIRE(chmod(path.c_str(), 0640) == 0);
  write_atomic(path, std::string("more"));
  CHECK(mode(path) == 0640);
}

TEST_CASE("two writers of one file do not meet: the last to finish wins, whole") {
  const Scratch scratch;
  const std::string path = scratch / "file";
  AtomicFile one(path), two(path);
  CHECK(one.temporary() != two.temporary());
  one.write(as_bytes("one"));
  two.write(as_bytes("two, longer"));
  two.commit();
  one.commit();
  CHECK(read_text(path) == "one");
  CHECK(scratch.list() == std::vector<std::string>{"file"});
}

TEST_CASE("what a killed writer left goes, and what a living one writes stays") {
  const Scratch scratch;
  const std::string path = scratch / "file";
  scratch.write(".file.0123456789abcdef.tmp", "half");
  scratch.write(".file.0123456789abcdef.tmp2", "another's");
  scratch.write(".file.of.0123456789abcdef.tmp", "another's");
  AtomicFile living(path);
  check_writable(path);
  CHECK(scratch.list().size() == 3);
  living.write(as_bytes("new"));
  living.commit();
  CHECK(read_text(path) == "new");
}

TEST_CASE("a name of 240 bytes is written like any other") {
  const Scratch scratch;
  const std::string path = scratch / std::string(240, 'n');
  write_atomic(path, std::string("x"));
  const FileLock lock(path);
  CHECK(read_text(path) == "x");
}

TEST_CASE("a lock keeps a second run out, and goes with the process that held it") {
  const Scratch scratch;
  const std::string path = scratch / "model";
  {
    const FileLock lock(path);
    CHECK(error_message([&] { FileLock second(path); }) == path + ": another run is writing it, and holds " +
                                                               (scratch / ".model.lock") +
                                                               "; wait for that one, or write elsewhere");
  }
  CHECK(std::filesystem::is_empty(scratch / ""));
  const pid_t child = fork();
  if (child == 0) {
    const FileLock lock(path);
    kill(getpid(), SIGKILL);
  }
  waitpid(child, nullptr, 0);
  CHECK(std::filesystem::exists(scratch / ".model.lock"));
  { const FileLock lock(path); }
  CHECK(std::filesystem::is_empty(scratch / ""));
  std::filesystem::create_symlink("elsewhere", scratch / ".model.lock");
  CHECK(error_message([&] { FileLock lock(path); }).starts_with(path + ": cannot write: Too many levels"));
  CHECK(!std::filesystem::exists(scratch / "elsewhere"));
}

TEST_CASE("a full disk leaves the old file, no temporary one, and says so") {
  const Scratch scratch;
  const std::string path = scratch.write("file", "old");
  const std::string large(1 << 20, 'x');
  std::string message;
  {
    const FullDisk disk(4096);
    message = error_message([&] { write_atomic(path, large); });
  }
  CHECK(message == path + ": cannot write: File too large; free space or choose another folder");
  CHECK(read_text(path) == "old");
  CHECK(scratch.list() == std::vector<std::string>{"file"});
}

TEST_CASE("a writer that throws leaves the old file and no temporary one") {
  const Scratch scratch;
  const std::string path = scratch.write("file", "old");
  const auto writer = [](const ByteSink& sink) {
    sink(as_bytes("half"));
    throw Error("enough");
  };
  CHECK(error_message([&] { write_atomic(path, writer); }) == "enough");
  CHECK(read_text(path) == "old");
  CHECK(scratch.list() == std::vector<std::string>{"file"});
}

TEST_CASE("a folder that cannot be written is named, early and late") {
  const Scratch scratch;
  scratch.write("file", "");
  const std::string below = scratch / "file/out", folder = scratch / ".";
  for (const bool early : {true, false}) {
    const auto try_write = [&](const std::string& path) {
      return error_message([&] { early ? check_writable(path) : write_atomic(path, std::string("x")); });
    };
    CHECK(try_write(below).starts_with(below + ": cannot write: folder "));
    CHECK(try_write(below).ends_with(": Not a directory; choose another folder"));
    CHECK(try_write(folder) == folder + ": cannot write: it is a folder; give a path to a file");
    CHECK(try_write(folder + "/").ends_with("give a path to a file"));
    CHECK(try_write("").ends_with("give a path to a file"));
    if (::geteuid() == 0) continue;  // root writes anywhere
    std::filesystem::create_directory(scratch / "closed");
    std::filesystem::permissions(scratch / "closed", std::filesystem::perms::owner_read);
    CHECK(try_write(scratch / "closed/out").ends_with(": Permission denied; free space or choose another folder"));
    std::filesystem::permissions(scratch / "closed", std::filesystem::perms::owner_all);
    std::filesystem::remove(scratch / "closed");
  }
  CHECK(scratch.list() == std::vector<std::string>{"file"});
}

TEST_CASE("check_writable leaves nothing but the folder") {
  const Scratch scratch;
  check_writable(scratch / "a/file");
  CHECK(std::filesystem::is_empty(scratch / "a"));
}

TEST_CASE("the content hash is XXH64") {
  const auto hash = [](const std::string& text) { return content_hash(as_bytes(text)); };
  // Published values, made with xxhsum -H64.
  CHECK(hash("") == "ef46db3751d8e999");
  CHECK(hash("a") == "d24ec4f1a98c6e5b");
  CHECK(hash("abc") == "44bc2cf5ad770999");
  CHECK(hash("Nobody inspects the spammish repetition") == "fbcea83c8a378bf1");
}

TEST_CASE("a file's hash is that of its bytes, and every byte counts") {
  const Scratch scratch;
  // Around the 32-byte stripe and the 1 MiB buffer.
  for (const std::size_t size : {0, 1, 31, 32, 33, 1 << 20, (1 << 20) + 1, (2 << 20) + 45}) {
    std::string content(size, 'x');
    const std::string path = scratch.write("file", content);
    CHECK(file_hash(path) == content_hash(as_bytes(content)));
    if (size == 0) continue;
    content.back() ^= 1;
    CHECK(file_hash(path) != content_hash(as_bytes(content)));
  }
}
