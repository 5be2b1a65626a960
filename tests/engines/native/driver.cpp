// Runs random small models of every structure through the C interface, with every kernel of this CPU. Without Python,
// so that it runs under sanitizers, valgrind and qemu. Checks that a text has the same outputs to the bit alone, in a
// list, on any number of threads, in many calls at once, and in a forked child; and that wrong calls are refused.
//
//     driver [models [seed]]
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "random_model.h"
#ifdef BERTEDGE_EMULATE_AMX
#include "trapped_tiles.h"
#endif

using namespace bertedge_test;

namespace {

std::atomic<int> failures{0};
// Calls in which an engine tries each way of sharing work between threads; see src/sharing.cpp.
constexpr int kCallsToTryAll = 15;

void check(bool fine, const std::string& what) {
  if (fine) return;
  ++failures;
  std::fprintf(stderr, "failed: %s\n", what.c_str());
}

// Some texts, with what be_texts points at.
struct Texts {
  std::vector<int32_t> starts{0}, masked;
  std::vector<int64_t> ids, types;

  void add(const std::vector<int64_t>& text) {
    const int first = starts.back();
    for (size_t i = 0; i < text.size(); ++i) {
      ids.push_back(text[i]), types.push_back(static_cast<int64_t>(i) % 2);
      if (i % 3 == 1) masked.push_back(first + static_cast<int32_t>(i));
    }
    starts.push_back(static_cast<int32_t>(ids.size()));
  }

  be_texts view() const {
    return {static_cast<int32_t>(starts.size()) - 1,
            static_cast<int32_t>(masked.size()),
            starts.data(),
            ids.data(),
            types.data(),
            masked.data()};
  }
};

std::vector<std::vector<int64_t>> random_texts(Random& random, const Structure& structure) {
  static const int lengths[] = {1, 2, 7, 16, 17, 33, 75};
  std::vector<std::vector<int64_t>> texts(static_cast<size_t>(pick(random, 1, 6)));
  for (auto& text : texts) {
    text.resize(static_cast<size_t>(lengths[pick(random, 0, 6)]));
    for (int64_t& id : text) id = pick(random, 0, structure.vocabulary - 1);
  }
  return texts;
}

// All outputs of one call: states, pooler, heads.
using Answer = std::vector<std::vector<float>>;

int rows_of(const be_head& head, const be_texts& texts) {
  if (head.reads == BE_EVERY) return texts.starts[texts.count];
  return head.reads == BE_MASKED ? texts.masked_count : texts.count;
}

Answer blank(const be_model& model, const be_texts& texts) {
  const auto floats = [](int rows, int columns) {
    return std::vector<float>(static_cast<size_t>(rows) * static_cast<size_t>(columns), -1);
  };
  Answer answer{floats(texts.starts[texts.count], model.hidden),
                floats(model.pooler.outputs ? texts.count : 0, model.hidden)};
  for (int i = 0; i < model.head_count; ++i) {
    answer.push_back(floats(rows_of(model.heads[i], texts), model.heads[i].last.outputs));
  }
  return answer;
}

// The outputs of a call; `wanted`: a bit for each of them.
Answer run(be_engine* engine, const be_model& model, const Texts& some, bool alone, unsigned wanted = ~0u) {
  const be_texts texts = some.view();
  Answer answer = blank(model, texts);
  std::vector<float*> heads;
  const auto place = [&](size_t i) { return wanted >> i & 1 && !answer[i].empty() ? answer[i].data() : nullptr; };
  for (size_t i = 2; i < answer.size(); ++i) heads.push_back(place(i));
  const be_outputs outputs{place(0), place(1), heads.data()};
  char error[200] = "";
  const int status = be_run(engine, &texts, &outputs, alone, error, sizeof error);
  check(status == BE_OK, std::string("run: ") + error);
  return answer;
}

// The rows of text `place` of a list, cut from the answer of the whole list.
Answer part(const Answer& whole, const be_model& model, const Texts& all, size_t place, const Texts& one) {
  const be_texts texts = all.view(), single = one.view();
  const int first = texts.starts[place];
  int masked_before = 0;
  while (masked_before < texts.masked_count && texts.masked[masked_before] < first) ++masked_before;
  Answer found = blank(model, single);
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i].empty()) continue;
    const int reads = i == 0 ? BE_EVERY : i == 1 ? BE_POOLER : model.heads[i - 2].reads;
    const size_t columns = i < 2 ? model.hidden : model.heads[i - 2].last.outputs;
    const size_t row = reads == BE_EVERY ? first : reads == BE_MASKED ? masked_before : place;
    std::memcpy(found[i].data(), whole[i].data() + row * columns, found[i].size() * sizeof(float));
  }
  return found;
}

bool same(const Answer& a, const Answer& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) return false;
    if (!a[i].empty() && std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0) return false;
  }
  return true;
}

bool finite(const Answer& answer) {
  for (const auto& values : answer) {
    for (float value : values) {
      if (!std::isfinite(value)) return false;
    }
  }
  return true;
}

be_engine* opened(const be_model& model, int threads, const std::string& kernel) {
  be_engine* engine = nullptr;
  char error[200] = "";
  const int status = be_open(&model, threads, kernel.c_str(), &engine, error, sizeof error);
  check(status == BE_OK && engine != nullptr, "open with " + kernel + ": " + error);
  return status == BE_OK ? engine : nullptr;
}

void check_calls_at_once(be_engine* engine, const be_model& model, const Texts& texts, const Answer& expected) {
  std::vector<std::thread> callers;
  std::vector<int> wrong(4);
  for (size_t i = 0; i < wrong.size(); ++i) {
    callers.emplace_back([&, i] {
      for (int round = 0; round < 3; ++round) wrong[i] += !same(run(engine, model, texts, i % 2 == 1), expected);
    });
  }
  for (auto& caller : callers) caller.join();
  for (int count : wrong) check(count == 0, "calls at once");
}

void check_forked_child(be_engine* engine, const be_model& model, const Texts& texts, const Answer& expected) {
#if !defined(__SANITIZE_THREAD__)  // which does not follow threads that are started after a fork
  int ends[2];
  if (pipe(ends)) return check(false, "pipe");
  const pid_t child = fork();
  if (child == 0) {
    be_after_fork(engine);
    const char answer = same(run(engine, model, texts, false), expected) ? 'y' : 'n';
    if (write(ends[1], &answer, 1) != 1) _exit(1);
    kill(getpid(), SIGKILL);  // at an exit, valgrind would report what the parent's threads left
  }
  close(ends[1]);
  char answer = 0;
  check(read(ends[0], &answer, 1) == 1 && answer == 'y', "a forked child");
  close(ends[0]);
  waitpid(child, nullptr, 0);
#else
  (void)engine, (void)model, (void)texts, (void)expected;
#endif
}

void check_refusals(be_engine* engine, const be_model& model, const Texts& good) {
  char error[200];
  Answer answer = blank(model, good.view());
  std::vector<float*> heads(answer.size() - 2, nullptr);
  const be_outputs outputs{answer[0].data(), nullptr, heads.data()};
  const auto refused = [&](const char* what, auto&& change) {
    Texts texts = good;
    change(texts);
    const be_texts view = texts.view();
    const int status = be_run(engine, &view, &outputs, false, error, sizeof error);
    check(status == BE_BAD_INPUT && error[0] != '\0', what);
  };
  refused("an id below zero", [](Texts& t) { t.ids[0] = -1; });
  refused("an id that is no word", [&](Texts& t) { t.ids[0] = model.words.rows; });
  refused("a large id", [](Texts& t) { t.ids[0] = INT64_MAX; });
  refused("starts that go back", [](Texts& t) { t.starts[0] = 1, t.starts[1] = 0; });
  refused("an empty text", [](Texts& t) { t.starts.insert(t.starts.begin() + 1, 0); });
  if (model.token_types.rows) refused("a type", [](Texts& t) { t.types[0] = 2; });
  refused("a masked place", [](Texts& t) { t.masked.push_back(t.starts.back()); });
  refused("a masked place below zero", [](Texts& t) { t.masked.insert(t.masked.begin(), -1); });
}

void check_profile(be_engine* engine, const Texts& some) {
  be_step steps[200];
  char error[200] = "";
  std::vector<float> states(some.ids.size() * 3 * 128);
  const be_texts texts = some.view();
  const be_outputs outputs{states.data(), nullptr, nullptr};
  const int count = be_profile(engine, &texts, &outputs, steps, 200, error, sizeof error);
  check(count > 0, std::string("profile: ") + error);
  for (int i = 0; i < count; ++i) check(steps[i].name[0] != '\0' && steps[i].milliseconds >= 0, "a step's time");
  check(be_profile(engine, &texts, &outputs, steps, 2, error, sizeof error) == 2, "a profile of two steps");
}

// Two layers may read the same weights with other biases; and a layer may be a part of another one's bytes.
void check_shared_weights(Random& random, const std::string& kernel) {
  Structure structure = random_structure(random);
  structure.by_output = false;
  RandomModel described(random, structure);
  be_matrix* inner = const_cast<be_matrix*>(described.blocks[0].attention_output.matrices);
  be_matrix* dense = const_cast<be_matrix*>(described.heads[BE_FIRST].dense.matrices);
  be_matrix* last = const_cast<be_matrix*>(described.heads[BE_FIRST].last.matrices);
  const auto answer = [&] {
    be_engine* engine = opened(described.model, 1, kernel);
    Texts texts;
    texts.add({1, 2, 3});
    const Answer found = engine ? run(engine, described.model, texts, true) : Answer{};
    if (engine) be_close(engine);
    return found;
  };
  dense->weight = inner->weight;
  const uint64_t bytes = last->weight.bytes;
  last->weight = inner->weight, last->weight.bytes = bytes;
  const Answer shared = answer();
  for (be_matrix* matrix : {dense, last}) {
    const auto* data = static_cast<const unsigned char*>(matrix->weight.data);
    described.storage.emplace_back(data, data + matrix->weight.bytes);
    matrix->weight.data = described.storage.back().data();
  }
  check(same(shared, answer()), "layers that share weights");
}

void check_model(Random& random, const std::string& kernel) {
  const Structure structure = random_structure(random);
  RandomModel described(random, structure);
  const be_model& model = described.model;
  be_engine* one = opened(model, 1, kernel);
  be_engine* three = opened(model, 3, kernel);
  if (!one || !three) return;
  check(kernel == be_kernel(one), "the kernel's name");
  const auto some = random_texts(random, structure);
  Texts all;
  for (const auto& text : some) all.add(text);
  const Answer expected = run(one, model, all, true);
  check(finite(expected), "finite outputs");
  check(same(run(one, model, all, false), expected), "twice");
  for (int i = 0; i < kCallsToTryAll; ++i) check(same(run(three, model, all, false), expected), "three threads");
  for (size_t i = 0; i < some.size(); ++i) {
    Texts text;
    text.add(some[i]);
    check(same(run(three, model, text, false), part(expected, model, all, i, text)), "a text alone");
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    check(expected[i].empty() || run(three, model, all, false, 1u << i)[i] == expected[i], "one output alone");
  }
  run(three, model, all, false, 0);  // no output is wanted
  check_calls_at_once(three, model, all, expected);
  check_forked_child(three, model, all, expected);
  check_refusals(three, model, all);
  check_profile(three, all);
  check(be_memory(three) > 0, "memory");
  be_close(one);
  be_close(three);
}

}  // namespace

int main(int count, char** arguments) {
  const int models = count > 1 ? std::atoi(arguments[1]) : 20;
  const unsigned seed = count > 2 ? static_cast<unsigned>(std::atoi(arguments[2])) : 1;
  std::string kernels = std::string(be_kernels_here()) + " ", kernel;
  int run_kernels = 0;
  for (char letter : kernels) {
    if (letter != ' ') {
      kernel += letter;
      continue;
    }
    if (kernel.empty()) continue;
    Random random(seed);
    for (int i = 0; i < models; ++i) check_model(random, kernel), check_shared_weights(random, kernel);
    std::printf("%s: %d models\n", kernel.c_str(), models);
    kernel.clear(), ++run_kernels;
  }
  check(run_kernels > 0, "a kernel for this CPU");
  return failures ? 1 : 0;
}
