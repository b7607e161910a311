/* Retort's C interface: load a model, and say what it takes a picture for.

   Every function may be called from any thread. A model may be used by several threads at once: they decode and resize
   their pictures side by side, and the network runs for one of them at a time, on all cores. Nothing throws; what fails
   says why by retort_last_error(). Texts are UTF-8 as files hold it, without a length limit.

   A program that uses it links libretort.so or libretort.a (pkg-config --cflags --libs retort, or find_package(Retort)
   and Retort::retort). This file and retort.hpp are what stays as it is between versions of the same minor number; the
   headers under retort/ are those of the engine, for who extends it. */
#ifndef RETORT_H
#define RETORT_H

#include <stdint.h>

#if defined(__GNUC__)
#define RETORT_API __attribute__((visibility("default")))
#else
#define RETORT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A loaded model. */
typedef struct retort_model retort_model;

/* Reads a model file of Retort, or a bundle. NULL on failure. */
RETORT_API retort_model* retort_load(const char* path);

/* Lets go of a model, which no thread may be using. NULL is nothing to let go of. */
RETORT_API void retort_free(retort_model* model);

/* The number of classes, at least 1. */
RETORT_API int32_t retort_classes(const retort_model* model);

/* The name of class `index`, which lives as long as the model; NULL for one that there is not. */
RETORT_API const char* retort_class_name(const retort_model* model, int32_t index);

/* Writes the probability of every class, at temperature 1, to `probabilities`, which has room for
   retort_classes(model). The picture is turned upright, cut to its largest centred square, resized and normalised as
   the model was trained. A file may be JPEG, PNG, BMP, PPM, PGM, GIF or WebP, whatever its name. Pixels are rows from
   top to bottom without gaps: pixels[(y * width + x) * channels + c], with 1 channel (grey) or 3 (red, green, blue). 0
   on success, otherwise -1, and `probabilities` is untouched. */
RETORT_API int retort_classify_file(const retort_model* model, const char* path, float* probabilities);
RETORT_API int retort_classify_pixels(const retort_model* model, const uint8_t* pixels, int32_t width, int32_t height,
                                      int32_t channels, float* probabilities);

/* What failed last in this thread, in one line that begins with what is at fault and ends with what to do; "" where
   nothing has. It lives until the next failure in this thread. */
RETORT_API const char* retort_last_error(void);

/* "0.1.0" */
RETORT_API const char* retort_version(void);

#ifdef __cplusplus
}
#endif

#endif
