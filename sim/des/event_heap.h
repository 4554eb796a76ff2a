// A 4-ary implicit heap of event keys that keeps track of where each key lies, so that any of them can be moved or
// removed. The four children of a node share one cache line.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

#include "sim/des/event_key.h"

namespace retrosim {

/// std::allocator at the boundary of a cache line.
template <typename T>
struct CacheLineAllocator {
  using value_type = T;
  CacheLineAllocator() = default;
  template <typename U>
  explicit CacheLineAllocator(const CacheLineAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, std::size_t) { ::operator delete (p, std::align_val_t{64}); }
  friend bool operator==(const CacheLineAllocator&, const CacheLineAllocator&) { return true; }
};

class EventHeap {
 public:
  EventHeap() : heap_(kRoot) {}

  bool empty() const { return heap_.size() == kRoot; }
  std::size_t size() const { return heap_.size() - kRoot; }
  const EventKey& top() const { return heap_[kRoot]; }
  const EventKey& at(std::size_t index) const { return heap_[index]; }
  /// Calls `visit(key)` for every key, in no particular order.
  template <typename Visit>
  void for_each(Visit visit) const {
    for (std::size_t i = kRoot; i < heap_.size(); ++i) visit(heap_[i]);
  }
  void clear() { heap_.resize(kRoot); }

  void push(const EventKey& key, KeyLocations& where) {
    heap_.push_back(key);
    sift_up(heap_.size() - 1, key, where);
  }
  void pop(KeyLocations& where) { remove(kRoot, where); }
  void remove(std::size_t index, KeyLocations& where) {
    const EventKey last = heap_.back();
    heap_.pop_back();
    if (index == heap_.size()) return;
    if (index > kRoot && last < heap_[parent(index)]) {
      sift_up(index, last, where);
    } else {
      sift_hole(index, last, where);
    }
  }
  /// Puts `key` in the place of the key at `index`.
  void replace(std::size_t index, const EventKey& key, KeyLocations& where) {
    if (key < heap_[index]) {
      sift_up(index, key, where);
    } else {
      sift_down(index, key, where);
    }
  }

 private:
  // Index of the root. The children of p are 4p-8 .. 4p-5: a multiple of four, at the boundary of a cache line.
  static constexpr std::size_t kRoot = 3;
  static std::size_t parent(std::size_t index) { return index / 4 + 2; }
  static std::size_t first_child(std::size_t index) { return 4 * index - 8; }

  void place(std::size_t index, const EventKey& key, KeyLocations& where) {
    heap_[index] = key;
    where[key.slot()].location = static_cast<std::uint32_t>(index);
  }

  std::size_t min_child(std::size_t first) const {
    const EventKey* const heap = heap_.data();
    if (first + 4 <= heap_.size()) {
      const std::size_t left = first + (heap[first + 1] < heap[first] ? 1 : 0);
      const std::size_t right = first + 2 + (heap[first + 3] < heap[first + 2] ? 1 : 0);
      return heap[right] < heap[left] ? right : left;
    }
    std::size_t best = first;
    for (std::size_t i = first + 1; i < heap_.size(); ++i) best = heap[i] < heap[best] ? i : best;
    return best;
  }

  void sift_up(std::size_t index, const EventKey& key, KeyLocations& where) {
    while (index > kRoot && key < heap_[parent(index)]) {
      place(index, heap_[parent(index)], where);
      index = parent(index);
    }
    place(index, key, where);
  }

  void sift_down(std::size_t index, const EventKey& key, KeyLocations& where) {
    while (first_child(index) < heap_.size()) {
      const std::size_t child = min_child(first_child(index));
      if (!(heap_[child] < key)) break;
      place(index, heap_[child], where);
      index = child;
    }
    place(index, key, where);
  }

  // For a key that probably belongs near the leaves: follow the smallest children to the bottom, then climb.
  void sift_hole(std::size_t index, const EventKey& key, KeyLocations& where) {
    while (first_child(index) < heap_.size()) {
      const std::size_t child = min_child(first_child(index));
      place(index, heap_[child], where);
      index = child;
    }
    sift_up(index, key, where);
  }

  std::vector<EventKey, CacheLineAllocator<EventKey>> heap_;
};

}  // namespace retrosim
