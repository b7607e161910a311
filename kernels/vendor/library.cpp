// Opens shared libraries by dlopen and finds their functions by name.
#include "kernels/vendor/library.h"

#include <dlfcn.h>

namespace retort::vendor {

Library::Library(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    handle_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle_) {
      why_not_.clear();
      return;
    }
    if (why_not_.empty()) why_not_ = dlerror();
  }
  why_not_ += "; install it, or name its folder in LD_LIBRARY_PATH";
}

void* Library::find(const char* function) {
  if (!handle_) return nullptr;
  void* const address = dlsym(handle_, function);
  if (!address && why_not_.empty()) why_not_ = std::string("it has no ") + function + "; install a newer one";
  return address;
}

std::string failed_call(const char* call, const char* file, int line, const std::string& text) {
  return std::string(call) + " (" + file + ":" + std::to_string(line) + "): " + text;
}

}  // namespace retort::vendor
