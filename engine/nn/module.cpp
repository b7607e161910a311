#include "engine/nn/module.h"

namespace retort {
namespace {

std::string join(const std::string& prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : prefix + "." + std::string(name);
}

}  // namespace

void Visitor::operator()(std::string_view name, Parameter& parameter) { callback_(join(prefix_, name), parameter); }

void Visitor::operator()(std::string_view name, Module& module) {
  const std::string outer = prefix_;
  prefix_ = join(prefix_, name);
  module.visit(*this);
  prefix_ = outer;
}

std::vector<Parameter*> parameters(Module& module) {
  std::vector<Parameter*> found;
  Visitor visitor([&found](const std::string& name, Parameter& parameter) {
    parameter.name = name;
    found.push_back(&parameter);
  });
  module.visit(visitor);
  return found;
}

Device device_of(Module& module) {
  for (const Parameter* parameter : parameters(module))
    if (parameter->value.dtype() != DType::i64) return parameter->value.device();
  return Device::cpu;
}

void to_device(Module& module, Device device) {
  for (Parameter* parameter : parameters(module)) {
    Tensor& value = parameter->value;
    if (value.dtype() == DType::i64 || value.device() == device) continue;
    const bool trained = value.requires_grad();
    value = value.to(device);
    if (trained) value.require_grad();
  }
}

}  // namespace retort
