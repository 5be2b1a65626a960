#include "api.h"

#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "cpu.h"
#include "model.h"
#include "pass.h"
#include "refusal.h"
#include "sharing.h"
#include "team.h"

namespace {

using namespace bertedge;

// Larger calls are always shared: to try them on one thread would take too long.
constexpr int kMostTokensAlone = 128;

// What does not survive a fork: threads, locks, and the work space of other threads' calls.
struct Process {
  explicit Process(int threads) : team(threads) {}

  std::unique_ptr<Workspace> take() {
    std::lock_guard<std::mutex> lock(mutex);
    if (free.empty()) return std::make_unique<Workspace>();
    std::unique_ptr<Workspace> workspace = std::move(free.back());
    free.pop_back();
    return workspace;
  }
  void give_back(std::unique_ptr<Workspace> workspace) {
    std::lock_guard<std::mutex> lock(mutex);
    free.push_back(std::move(workspace));
  }

  Team team;
  std::mutex team_in_use;
  SharingChoice sharing;
  std::mutex mutex;
  std::vector<std::unique_ptr<Workspace>> free;  // guarded by mutex
};

int32_t report(be_status status, const char* reason, char* error, int32_t error_size) {
  if (error && error_size > 0) {
    std::strncpy(error, reason, static_cast<size_t>(error_size));
    error[error_size - 1] = 0;
  }
  return status;
}

// Runs work; no exception leaves the library.
template <class Work>
int32_t guarded(char* error, int32_t error_size, Work&& work) {
  try {
    work();
    return report(BE_OK, "", error, error_size);
  } catch (const Refusal& refusal) {
    return report(refusal.status(), refusal.what(), error, error_size);
  } catch (const std::bad_alloc&) {
    return report(BE_NO_MEMORY, "there is not enough memory", error, error_size);
  } catch (const std::exception& failure) {
    return report(BE_NO_MEMORY, failure.what(), error, error_size);
  }
}

const char* kept_names(bool here_only) {
  static const auto list = [](bool here) {
    std::string names;
    for (const Kernels* const* row = all_kernels(); *row; row++) {
      if (!here || why_not(**row).empty()) names += (names.empty() ? "" : " ") + std::string((*row)->name);
    }
    return names;
  };
  static const std::string all = list(false), here = list(true);
  return (here_only ? here : all).c_str();
}

}  // namespace

struct be_engine {
  be_engine(const be_model& description, const Kernels& kernels, int threads)
      : threads(threads),
        model(read_model(description, kernels, threads)),
        process(std::make_unique<Process>(threads)) {}

  // Runs the pass with the team if `alone` is false and no other call has it.
  std::shared_ptr<Pass> run(const be_texts& texts, const be_outputs& outputs, bool alone, bool timed) {
    std::unique_lock<std::mutex> team(process->team_in_use, std::defer_lock);
    const bool may_share = !alone && threads > 1 && team.try_lock();
    const int tokens = texts.starts && texts.count > 0 ? texts.starts[texts.count] : 0;
    Sharing sharing = Sharing::kAlone;
    if (may_share) sharing = timed ? Sharing::kRows : process->sharing.choose(tokens, tokens <= kMostTokensAlone);
    std::unique_ptr<Workspace> workspace = process->take();
    const bool together = sharing != Sharing::kAlone;
    auto pass = std::make_shared<Pass>(*model, *workspace, texts, outputs, together ? threads : 1, sharing);
    if (timed) pass->time_steps();
    const auto start = std::chrono::steady_clock::now();
    if (together) {
      process->team.run(pass);
    } else {
      pass->work(0);
    }
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    if (may_share && !timed) process->sharing.note(tokens, sharing, time.count());
    process->give_back(std::move(workspace));
    return pass;
  }

  int threads;
  std::unique_ptr<Model> model;
  std::unique_ptr<Process> process;
  std::mutex times_mutex;
  std::vector<std::pair<std::string, double>> times;  // of the last be_profile
};

int32_t be_abi(void) { return BE_ABI; }

const char* be_kernels(void) { return kept_names(false); }

const char* be_kernels_here(void) { return kept_names(true); }

const char* be_why_not(const char* kernel) {
  static thread_local std::string reason;
  reason = "there is no such kernel in this library";
  for (const Kernels* const* row = all_kernels(); kernel && *row; row++) {
    if (std::strcmp((*row)->name, kernel) == 0) reason = why_not(**row);
  }
  return reason.c_str();
}

int32_t be_open(const be_model* model, int32_t threads, const char* kernel, be_engine** engine, char* error,
                int32_t error_size) {
  return guarded(error, error_size, [&] {
    if (!model || !engine) throw Refusal(BE_BAD_INPUT, "there is no model");
    if (threads < 1 || threads > 1024) throw Refusal(BE_BAD_INPUT, "threads are not between 1 and 1024");
    const std::string name = kernel ? kernel : "";
    const Kernels* kernels = find_kernels(name);
    if (!kernels) {
      throw Refusal(BE_UNFIT_CPU, name.empty() ? "no kernel of this library runs on this CPU"
                                               : "kernel " + name + ": " + be_why_not(name.c_str()));
    }
    *engine = new be_engine(*model, *kernels, threads);
  });
}

void be_close(be_engine* engine) { delete engine; }

const char* be_kernel(const be_engine* engine) { return engine->model->kernels->name; }

int32_t be_run(be_engine* engine, const be_texts* texts, const be_outputs* outputs, int32_t alone, char* error,
               int32_t error_size) {
  return guarded(error, error_size, [&] {
    if (!engine || !texts || !outputs) throw Refusal(BE_BAD_INPUT, "there is no text");
    engine->run(*texts, *outputs, alone != 0, false);
  });
}

int32_t be_profile(be_engine* engine, const be_texts* texts, const be_outputs* outputs, be_step* steps,
                   int32_t capacity, char* error, int32_t error_size) {
  int32_t count = 0;
  const int32_t status = guarded(error, error_size, [&] {
    if (!engine || !texts || !outputs || !steps) throw Refusal(BE_BAD_INPUT, "there is no text");
    const std::shared_ptr<Pass> pass = engine->run(*texts, *outputs, false, true);
    std::lock_guard<std::mutex> lock(engine->times_mutex);
    engine->times = pass->times();
    for (const auto& [name, milliseconds] : engine->times) {
      if (count < capacity) steps[count++] = {name.c_str(), milliseconds};
    }
  });
  return status == BE_OK ? count : -status;
}

void be_after_fork(be_engine* engine) {
  // The parent's threads do not exist here, and its locks may be held for ever: they are left alone.
  engine->process.release();
  engine->process = std::make_unique<Process>(engine->threads);
}

uint64_t be_memory(const be_engine* engine) {
  uint64_t bytes = engine->model->arena.bytes();
  std::lock_guard<std::mutex> lock(engine->process->mutex);
  for (const std::unique_ptr<Workspace>& workspace : engine->process->free) bytes += workspace->bytes();
  return bytes;
}
