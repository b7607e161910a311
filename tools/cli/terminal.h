// What each system says of the terminal, if there is one, in its own way.
#pragma once

namespace retort {

enum class Output { out = 1, error = 2 };  ///< stdout and stderr, as the system numbers them

/// Whether somebody looks at it, rather than a file or a pipe.
bool is_terminal(Output output);

/// Characters in a line of the terminal; 80 where the output is none or does not say.
int terminal_columns(Output output);

/// Whether whoever read stdout has gone, as `head` does when it has seen enough. False where the system can't tell.
bool reader_gone();

}  // namespace retort
