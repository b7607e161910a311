// One model in eight threads, a file, pixels and failures in turn: every answer is the first one to the bit, and each
// thread has its own last error.
#include <cstdio>
#include <cstring>
#include <retort.hpp>
#include <thread>

int main(int, char** argv) {
  const retort::Classifier classifier(argv[1]);
  const std::vector<std::uint8_t> grey(std::size_t{31} * 17, 90);
  const std::vector<float> file = classifier.classify(argv[2]), pixels = classifier.classify(grey.data(), 31, 17, 1);
  std::vector<int> wrong(8);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      const std::string missing = "missing-" + std::to_string(i);
      for (int round = 0; round < 50; ++round) {
        wrong[i] += classifier.classify(argv[2]) != file;
        wrong[i] += classifier.classify(grey.data(), 31, 17, 1) != pixels;
        float untouched[2] = {-1, -1};
        retort_model* const model = retort_load(argv[1]);
        wrong[i] += retort_classify_file(model, missing.c_str(), untouched) != -1 || untouched[0] != -1;
        wrong[i] += std::strncmp(retort_last_error(), missing.c_str(), missing.size()) != 0;
        retort_free(model);
      }
    });
  for (std::thread& thread : threads) thread.join();
  int failures = 0;
  for (const int count : wrong) failures += count;

  // What a caller may get wrong.
  float two[2];
  failures += retort_load(nullptr) != nullptr || !std::strstr(retort_last_error(), "path: is NULL");
  failures += retort_classes(nullptr) != 0 || retort_class_name(nullptr, 0) != nullptr;
  failures +=
      retort_classify_file(nullptr, "x", two) != -1 || retort_classify_pixels(nullptr, grey.data(), 1, 1, 1, two) != -1;
  retort_model* const model = retort_load(argv[1]);
  failures += retort_classify_pixels(model, grey.data(), 0, 5, 1, two) != -1 ||
              retort_classify_pixels(model, grey.data(), 5, 5, 2, two) != -1;
  failures += retort_class_name(model, -1) != nullptr || retort_class_name(model, retort_classes(model)) != nullptr;
  retort_free(model);
  retort_free(nullptr);
  if (failures) std::printf("threads: %d wrong answers\n", failures);
  return failures != 0;
}
