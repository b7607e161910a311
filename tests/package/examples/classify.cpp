// Says what a picture shows: classify MODEL PICTURE
#include <cstdio>
#include <retort.hpp>

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "classify MODEL PICTURE\n"), 2;
  try {
    const retort::Classifier classifier(argv[1]);
    const std::vector<float> probabilities = classifier.classify(argv[2]);
    for (std::size_t i = 0; i < probabilities.size(); ++i)
      std::printf("%s %.4f\n", classifier.classes()[i].c_str(), probabilities[i]);
    return 0;
  } catch (const retort::Failure& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
    return 1;
  }
}
