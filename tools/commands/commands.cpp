#include "tools/commands/commands.h"

namespace retort {

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
  add_eval_command(app);
  add_predict_command(app);
  add_summary_command(app);
  add_graph_command(app);
  add_forward_command(app);
  add_grad_command(app);
  add_verify_command(app);
  add_bench_command(app);
  add_demo_command(app);
}

}  // namespace retort
