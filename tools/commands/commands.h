// The commands of the program. Each adds itself, its flags and its callback to the application; one file per command.
#pragma once

namespace CLI {
class App;
}

namespace retort {

/// All of them, in the order in which the help lists them.
void add_commands(CLI::App& app);

void add_train_command(CLI::App& app);
void add_import_command(CLI::App& app);
void add_logits_command(CLI::App& app);
void add_views_command(CLI::App& app);
void add_combine_command(CLI::App& app);
void add_distill_command(CLI::App& app);
void add_sweep_command(CLI::App& app);
void add_specialists_command(CLI::App& app);
void add_bias_command(CLI::App& app);
void add_watch_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_predict_command(CLI::App& app);
void add_summary_command(CLI::App& app);
void add_graph_command(CLI::App& app);
void add_export_command(CLI::App& app);
void add_bundle_command(CLI::App& app);
void add_page_command(CLI::App& app);
void add_quantize_command(CLI::App& app);
void add_forward_command(CLI::App& app);
void add_grad_command(CLI::App& app);
void add_verify_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_demo_command(CLI::App& app);
void add_help_command(CLI::App& app);

}  // namespace retort
