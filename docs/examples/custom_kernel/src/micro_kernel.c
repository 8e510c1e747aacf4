/* The micro-kernel in C: adds a·b to a tile of 8 rows and 32 columns, which stays in registers.
 *
 * a [8, depth] and b [depth, 32] have rows that begin a_row and b_row numbers after each other; the
 * sums stand one behind the other. Each sum is one chain of multiply-adds, from the first k on. */

#include <stddef.h>

#define ROWS 8
#define VECTORS 2
#define LANES 16

/* GCC and clang make of it the vectors of the instruction set that a function is compiled for. */
typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

static inline __attribute__((always_inline)) void micro_kernel(
    size_t depth, const float *a, size_t a_row, const float *b, size_t b_row, float *sums)
{
    vector local[ROWS][VECTORS];
    for (int i = 0; i < ROWS; i++)
        for (int v = 0; v < VECTORS; v++)
            local[i][v] = *(const vector *)(sums + (i * VECTORS + v) * LANES);
    for (size_t k = 0; k < depth; k++) {
        vector row[VECTORS];
        for (int v = 0; v < VECTORS; v++)
            row[v] = *(const vector *)(b + k * b_row + v * LANES);
        for (int i = 0; i < ROWS; i++)
            for (int v = 0; v < VECTORS; v++)
                local[i][v] += a[i * a_row + k] * row[v];
    }
    for (int i = 0; i < ROWS; i++)
        for (int v = 0; v < VECTORS; v++)
            *(vector *)(sums + (i * VECTORS + v) * LANES) = local[i][v];
}

/* For any machine that the compiler compiles for. */
void custom_kernel_portable(
    size_t depth, const float *a, size_t a_row, const float *b, size_t b_row, float *sums)
{
    micro_kernel(depth, a, a_row, b, b_row, sums);
}

#if defined(__x86_64__)
/* Only for machines with AVX-512. */
__attribute__((target("avx512f"))) void custom_kernel_avx512(
    size_t depth, const float *a, size_t a_row, const float *b, size_t b_row, float *sums)
{
    micro_kernel(depth, a, a_row, b, b_row, sums);
}
#endif
