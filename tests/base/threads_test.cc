#include "base/threads.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "base/expect_error.h"

namespace darkroom {
namespace {

TEST(ThreadPool, RunsEveryTaskOnceForAnyThreadCount) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (const int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
      pool.parallel_for(count, [&](int64_t task, int worker) {
        ASSERT_GE(worker, 0);
        ASSERT_LT(worker, threads);
        ++runs[static_cast<std::size_t>(task)];
      });
      for (const std::atomic<int>& n : runs) EXPECT_EQ(n, 1);
    }
  }
}

TEST(ThreadPool, NegativeCountRunsNothing) {
  ThreadPool pool(2);
  pool.parallel_for(-5, [](int64_t, int) { ADD_FAILURE(); });
}

TEST(ThreadPool, OneWorkerNumberIsNeverInTwoTasksAtOnce) {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> busy(4);
  pool.parallel_for(2000, [&](int64_t, int worker) {
    EXPECT_EQ(busy[static_cast<std::size_t>(worker)].fetch_add(1), 0);
    --busy[static_cast<std::size_t>(worker)];
  });
}

TEST(ThreadPool, RethrowsAndGoesOnWorking) {
  for (const int threads : {1, 4}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 20; ++round) {
      EXPECT_THROW(pool.parallel_for(50,
                                     [](int64_t task, int) {
                                       if (task % 10 == 3) throw std::runtime_error("task");
                                     }),
                   std::runtime_error);
      std::atomic<int> sum = 0;
      pool.parallel_for(50, [&](int64_t, int) { ++sum; });
      EXPECT_EQ(sum, 50);
    }
  }
}

TEST(ThreadPool, AnExceptionLeavesOutTheTasksNotBegun) {
  for (const int threads : {1, 2}) {
    ThreadPool pool(threads);
    std::atomic<int64_t> begun = 0;
    EXPECT_THROW(pool.parallel_for(1'000'000'000,
                                   [&](int64_t, int) {  // would take minutes if they were run
                                     ++begun;
                                     throw std::runtime_error("task");
                                   }),
                 std::runtime_error);
    EXPECT_LE(begun, threads);
  }
}

TEST(ThreadPool, ManyShortRunsDoNotHangOrLoseTasks) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum = 0;
  for (int i = 0; i < 5000; ++i) pool.parallel_for(3, [&](int64_t task, int) { sum += task; });
  EXPECT_EQ(sum, 5000 * 3);
}

TEST(ThreadPool, ZeroMeansTheProcessorsOfThisProcess) {
  EXPECT_GE(available_processors(), 1);
  EXPECT_EQ(ThreadPool(0).size(), std::min(available_processors(), ThreadPool::kMaxThreads));
}

TEST(ThreadPool, TooManyThreadsIsAnError) {
  expect_error(ErrorCode::kUsage, "1000000 threads asked for, at most 1024",
               [] { ThreadPool pool(1'000'000); });
}

// A system that refuses threads: without room for their stacks, in a child process so that the
// limit stays there.
TEST(ThreadPool, ARefusedThreadIsAnErrorNotACrash) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own mappings exceed any address space limit";
#endif
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const rlimit limit = {std::size_t{1} << 30, std::size_t{1} << 30};
    if (::setrlimit(RLIMIT_AS, &limit) != 0) ::_exit(2);
    try {
      ThreadPool pool(1000);  // 8 GB of stacks
      ::_exit(3);
    } catch (const Error& e) {
      ::_exit(std::string(e.what()).find("ask for fewer") != std::string::npos ? 0 : 4);
    }
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace darkroom
