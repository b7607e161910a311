/* Says what a picture shows: classify MODEL PICTURE */
#include <retort.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  if (argc != 3) return fprintf(stderr, "classify MODEL PICTURE\n"), 2;
  retort_model* model = retort_load(argv[1]);
  if (!model) return fprintf(stderr, "%s\n", retort_last_error()), 1;

  int classes = retort_classes(model), failed;
  float* probabilities = malloc(classes * sizeof *probabilities);
  failed = retort_classify_file(model, argv[2], probabilities);
  if (failed) fprintf(stderr, "%s\n", retort_last_error());
  for (int i = 0; i < classes && !failed; ++i) printf("%s %.4f\n", retort_class_name(model, i), probabilities[i]);

  free(probabilities);
  retort_free(model);
  return failed ? 1 : 0;
}
