#include "tools/commands/commands.h"

#include <CLI/CLI.hpp>
#include <string>
#include <utility>

namespace retort {
namespace {

/// What one types, below each command's help.
constexpr std::pair<const char*, const char*> kExamples[] = {
    {"train", "retort train --model resnet50 --data photos --out teacher.safetensors"},
    {"import", "retort import --model resnet50 --weights resnet50.safetensors --data photos --out teacher.safetensors"},
    {"logits", "retort logits --model teacher.best.safetensors --data photos --split train --views 8 --out train.npy"},
    {"views", "retort views --data photos --views 4 --out views"},
    {"combine", "retort combine a.npy b.npy --teacher-weights 2,1 --out both.npy"},
    {"distill",
     "retort distill --student resnet18 --data photos --logits train.npy --temperature 4 --out student.safetensors"},
    {"sweep", "retort sweep --student resnet18 --data photos --logits train.npy --temperature 1,4,10 --out sweep"},
    {"specialists", "retort specialists --help"},
    {"bias", "retort bias --model student.safetensors --data photos --out corrected.safetensors"},
    {"watch", "retort watch student.jsonl other.jsonl"},
    {"eval", "retort eval --model student.safetensors --data photos --split test"},
    {"predict", "retort predict --model student.safetensors --top 3 holiday.jpg more-photos"},
    {"summary", "retort summary --model student.safetensors"},
    {"graph", "retort graph --model resnet50 --out resnet50.svg"},
    {"export", "retort export --model student.safetensors --out student.onnx"},
    {"bundle", "retort bundle --model student.safetensors --out classify"},
    {"page", "retort page --model student.safetensors --teacher teacher.best.safetensors --out student.html"},
    {"quantize", "retort quantize --model student.safetensors --data photos --out student-int8.safetensors"},
    {"forward", "retort forward --model student.safetensors --input x.npy --out logits.npy"},
    {"grad", "retort grad --model student.safetensors --input x.npy --labels y.npy --out grads.safetensors"},
    {"bench", "retort bench step --model resnet50 --batch-size 16"},
    {"demo", "retort demo --out demo"},
    {"help", "retort help --completions bash > ~/.local/share/bash-completion/completions/retort"},
};

}  // namespace

void add_commands(CLI::App& app) {
  add_train_command(app);
  add_import_command(app);
  add_logits_command(app);
  add_views_command(app);
  add_combine_command(app);
  add_distill_command(app);
  add_sweep_command(app);
  add_specialists_command(app);
  add_bias_command(app);
  add_watch_command(app);
  add_eval_command(app);
  add_predict_command(app);
  add_summary_command(app);
  add_graph_command(app);
  add_export_command(app);
  add_bundle_command(app);
  add_page_command(app);
  add_quantize_command(app);
  add_forward_command(app);
  add_grad_command(app);
  add_verify_command(app);
  add_bench_command(app);
  add_demo_command(app);
  add_help_command(app);
  for (const auto& [command, example] : kExamples)
    app.get_subcommand(command)->footer(std::string("Example:\n  ") + example);
}

}  // namespace retort
