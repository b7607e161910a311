#include "engine/io/hdf5.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "engine/core/check.h"

#ifdef RETORT_HAVE_HDF5
#include <hdf5.h>
#include <hdf5_hl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>

#include "engine/io/descriptor.h"
#include "engine/io/json.h"
#endif

namespace retort {

bool is_hdf5(std::string_view head) { return head.starts_with("\x89HDF\r\n\x1a\n"); }

#ifndef RETORT_HAVE_HDF5

Hdf5File read_hdf5(std::span<const std::uint8_t>, const std::string& where) {
  throw Error(text(where, ": is HDF5, which this build does not read; build with libhdf5 (Debian and Ubuntu: ",
                   "libhdf5-dev), or export the model as ONNX with tf2onnx"));
}

#else

namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kMaxIndexBytes = 64 << 20, kMaxDatasets = 1 << 20;
constexpr rlim_t kChildMemory = rlim_t{1} << 30;  // beyond the file's own size

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;                 // which reserves more address space than any limit allows
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif
#else
constexpr bool kSanitized = false;
#endif

/// Closes an object of the library, whichever its kind.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {
    if (id < 0) throw Error("is HDF5 with damaged headers; copy or download it again");
  }
  ~Handle() { close_(id_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

// ---- in the child: these call the library, and only say what they find
// -------------------------------------------------

/// What the child sends: an index as JSON with its length before it, and then the values of its datasets.
struct Found {
  Json datasets = Json::array(), texts = Json::object();
  std::vector<std::pair<std::string, std::uint64_t> > order;  ///< path and elements
  std::uint64_t elements = 0, file_bytes = 0;
  std::string problem;
};

bool is_optimizers(const std::string& path) { return path.starts_with("optimizer") || path.starts_with("_optimizer"); }

void note_dataset(hid_t file, const std::string& path, Found& found) {
  const Handle dataset(H5Dopen2(file, path.c_str(), H5P_DEFAULT), H5Dclose);
  const Handle type(H5Dget_type(dataset), H5Tclose);
  if (H5Tget_class(type) != H5T_FLOAT) return;
  const Handle plan(H5Dget_create_plist(dataset), H5Pclose);
  check(H5Pget_external_count(plan) == 0 && H5Pget_layout(plan) != H5D_VIRTUAL, "its ", path,
        " lies in another file; save the model as one file");
  check(H5Pget_nfilters(plan) == 0, "its ", path, " is compressed, expected it as it is; save it without compression");
  const Handle space(H5Dget_space(dataset), H5Sclose);
  hsize_t dims[H5S_MAX_RANK];
  const int rank = H5Sget_simple_extent_dims(space, dims, nullptr);
  check(rank >= 0 && rank <= H5S_MAX_RANK, "is HDF5 with damaged headers; copy or download it again");
  Json extents = Json::array();
  std::uint64_t count = 1;
  for (int i = 0; i < rank; ++i) {
    extents.push_back(dims[i]);
    check(dims[i] == 0 || count <= found.file_bytes / dims[i], "its ", path,
          " says more values than the file has bytes; copy or download it again");
    count *= dims[i];
  }
  found.elements += count;
  check(found.elements <= found.file_bytes && found.order.size() < kMaxDatasets,
        "its datasets say more values than the file has bytes; copy or download it again");
  found.datasets.push_back({{"path", path}, {"dims", extents}});
  found.order.emplace_back(path, count);
}

herr_t visit_link(hid_t group, const char* name, const H5L_info_t* link, void* data) {
  auto& found = *static_cast<Found*>(data);
  try {
    if (link->type != H5L_TYPE_HARD || is_optimizers(name)) return 0;
    const Handle object(H5Oopen(group, name, H5P_DEFAULT), H5Oclose);
    if (H5Iget_type(object) == H5I_DATASET) note_dataset(group, name, found);
    return 0;
  } catch (const std::exception& error) {
    found.problem = error.what();
    return -1;
  }
}

void note_text(hid_t root, const char* name, Found& found) {
  if (H5Aexists(root, name) <= 0) return;
  const Handle attribute(H5Aopen(root, name, H5P_DEFAULT), H5Aclose);
  const Handle type(H5Aget_type(attribute), H5Tclose);
  const Handle space(H5Aget_space(attribute), H5Sclose);
  if (H5Tget_class(type) != H5T_STRING || H5Sget_simple_extent_npoints(space) != 1) return;
  if (H5Tis_variable_str(type) > 0) {
    char* value = nullptr;
    const Handle memory(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(memory, H5T_VARIABLE);
    H5Tset_cset(memory, H5Tget_cset(type));
    check(H5Aread(attribute, memory, &value) >= 0 && value, "its ", name, " is damaged; copy or download it again");
    found.texts[name] = std::string(value);
    H5free_memory(value);
  } else {
    const std::size_t bytes = H5Tget_size(type);
    check(bytes <= kMaxIndexBytes, "its ", name, " is damaged; copy or download it again");
    std::string value(bytes, '\0');
    check(H5Aread(attribute, type, value.data()) >= 0, "its ", name, " is damaged; copy or download it again");
    found.texts[name] = value.substr(0, value.find('\0'));
  }
}

void send(int to, const void* data, std::size_t bytes) {
  for (const char* at = static_cast<const char*>(data); bytes > 0;) {
    const ssize_t sent = retried([&] { return ::write(to, at, bytes); });
    if (sent <= 0) _exit(1);
    at += sent;
    bytes -= static_cast<std::size_t>(sent);
  }
}

void send_index(int to, const Json& index) {
  const std::string content = json_text(index);
  const std::uint64_t bytes = content.size();
  send(to, &bytes, sizeof bytes);
  send(to, content.data(), content.size());
}

void bound_child(std::uint64_t file_bytes) {
  const auto limit = [](auto resource, rlim_t value) {
    const rlimit bounds{value, value};
    setrlimit(resource, &bounds);
  };
  limit(RLIMIT_CPU, 2 + file_bytes / (16 << 20));  // damaged headers can send the library round in circles
  limit(RLIMIT_CORE, 0);
  if (kSanitized) return;
  long pages = 0;
  if (FILE* own = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(own, "%ld", &pages) != 1) pages = 0;
    std::fclose(own);
  }
  if (pages > 0) limit(RLIMIT_AS, static_cast<rlim_t>(pages) * sysconf(_SC_PAGESIZE) + 4 * file_bytes + kChildMemory);
}

void read_in_child(std::span<const std::uint8_t> bytes, int to) {
  bound_child(bytes.size());
  // What the library prints of its own accord is not for the user.
  const int nowhere = open_file("/dev/null", O_WRONLY);
  if (nowhere >= 0) dup2(nowhere, STDERR_FILENO);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  Found found;
  found.file_bytes = bytes.size();
  try {
    // The library reads the image in place: it is never written through.
    const Handle file(H5LTopen_file_image(const_cast<std::uint8_t*>(bytes.data()), bytes.size(),
                                          H5LT_FILE_IMAGE_DONT_COPY | H5LT_FILE_IMAGE_DONT_RELEASE),
                      H5Fclose);
    for (const char* name : {"model_config", "keras_version"}) note_text(file, name, found);
    const herr_t visited = H5Lvisit(file, H5_INDEX_NAME, H5_ITER_INC, visit_link, &found);
    check(visited >= 0,
          found.problem.empty() ? "is HDF5 with damaged headers; copy or download it again" : found.problem);
    send_index(to, {{"datasets", found.datasets}, {"texts", found.texts}});
    for (const auto& [path, count] : found.order) {
      std::vector<float> values(count);
      const Handle dataset(H5Dopen2(file, path.c_str(), H5P_DEFAULT), H5Dclose);
      // Half an answer is told from a whole one by its length.
      if (H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0) _exit(1);
      send(to, values.data(), values.size() * sizeof(float));
    }
  } catch (const std::exception& error) {
    send_index(to, {{"problem", error.what()}});
  }
}

// ---- in the program: what the child says is checked as a file's content would be
// ----------------------------------------

class Answer {
 public:
  Answer(int from, const std::string& where) : from_(from), where_(where) {}

  void fill(void* data, std::size_t bytes) {
    for (char* at = static_cast<char*>(data); bytes > 0;) {
      const ssize_t got = retried([&] { return ::read(from_, at, bytes); });
      if (got <= 0) refuse();
      at += got;
      bytes -= static_cast<std::size_t>(got);
    }
  }
  [[noreturn]] void refuse() const {
    throw Error(text(where_, ": is HDF5 with damaged headers; copy or download it again"));
  }

 private:
  int from_;
  const std::string& where_;
};

Hdf5File receive(int from, std::uint64_t file_bytes, const std::string& where) {
  Answer answer(from, where);
  std::uint64_t bytes = 0;
  answer.fill(&bytes, sizeof bytes);
  if (bytes > kMaxIndexBytes) answer.refuse();
  std::string content(bytes, '\0');
  answer.fill(content.data(), content.size());
  const Json index = try_parse_json(content).value_or(Json());
  if (index.is_object() && index.contains("problem") && index["problem"].is_string())
    throw Error(text(where, ": ", index["problem"].get<std::string>()));
  if (!index.is_object() || !index.contains("datasets") || !index.contains("texts")) answer.refuse();
  Hdf5File file;
  for (const auto& [name, value] : index["texts"].items())
    if (value.is_string()) file.texts[name] = value.get<std::string>();
  std::uint64_t elements = 0;
  for (const Json& entry : index["datasets"]) {
    Hdf5File::Dataset dataset;
    std::uint64_t count = 1;
    for (const Json& extent : entry.at("dims")) {
      const auto dim = extent.get<std::uint64_t>();
      if (dim > 0 && count > file_bytes / dim) answer.refuse();
      count *= dim;
      dataset.dims.push_back(static_cast<std::int64_t>(dim));
    }
    elements += count;
    if (elements > file_bytes) answer.refuse();
    dataset.values.resize(count);
    answer.fill(dataset.values.data(), count * sizeof(float));
    file.datasets.emplace(entry.at("path").get<std::string>(), std::move(dataset));
  }
  return file;
}

}  // namespace

Hdf5File read_hdf5(std::span<const std::uint8_t> bytes, const std::string& where) {
  int ends[2];
  check(pipe2(ends, O_CLOEXEC) == 0, where, ": no pipe to its reader: ", reason(errno), "; end other programs");
  Descriptor from(ends[0]), to(ends[1]);
  const pid_t child = fork();
  check(child >= 0, where, ": no process for its reader: ", reason(errno), "; end other programs");
  if (child == 0) {
    from.close();
    read_in_child(bytes, to.get());
    _exit(0);
  }
  to.close();
  const auto wait = [&] {
    int status = 0;
    from.close();  // a child that still writes ends
    retried([&] { return waitpid(child, &status, 0); });
  };
  try {
    Hdf5File file = receive(from.get(), bytes.size(), where);
    wait();
    return file;
  } catch (const Json::exception&) {
    wait();
    throw Error(text(where, ": is HDF5 with damaged headers; copy or download it again"));
  } catch (...) {
    wait();
    throw;
  }
}

#endif

}  // namespace retort
