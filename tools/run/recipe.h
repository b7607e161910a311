// The recipe that a run follows where no flag says otherwise: what suits its pictures, and the line that tells it.
#pragma once

#include "tools/run/training.h"

namespace retort {

/// The augmentation of training and of a teacher's views where none is named: crop and flip; for grey images jitter,
/// since digits and letters rarely survive a mirror.
Augmentation default_augmentation(const Dataset& dataset);
/// What --augment asks for, or else the above.
Augmentation augmentation_of(const TrainingOptions& options, const Dataset& dataset);

/// Gives a run its length where --epochs does not: once its pictures are known.
void settle_length(TrainingRun& run);

/// Says how the run trains, and which flags depart from the default.
void say_recipe(const TrainingRun& run);

}  // namespace retort
