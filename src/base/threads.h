// A fixed pool of worker threads with one operation: run numbered, independent tasks.
//
// Which thread runs which task is not defined; results must depend on the task number only. That is what
// makes the same request give the same bytes for any thread count. One parallel_for at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace darkroom {

class ThreadPool {
 public:
  static constexpr int kMaxThreads = 1024;

  // threads counts the caller too, so ThreadPool(1) starts no thread. 0 means one per available processor.
  // Errors: kUsage above kMaxThreads; kFailure when the system refuses a thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Runs task(i, worker) for every i in [0, count); worker is in [0, size()). Returns when all have ended.
  // The first exception thrown by a task is rethrown here once the running ones have ended; tasks not begun
  // by then are left out. Not reentrant.
  void parallel_for(int64_t count, const std::function<void(int64_t task, int worker)>& task);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Processors this process may use (its affinity mask), at least 1.
int available_processors();

}  // namespace darkroom
