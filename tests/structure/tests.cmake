add_test(NAME structure_arrows COMMAND ${CMAKE_CURRENT_LIST_DIR}/check_arrows.sh ${PROJECT_SOURCE_DIR})
add_test(NAME structure_trace COMMAND ${CMAKE_CURRENT_LIST_DIR}/check_trace.sh ${PROJECT_SOURCE_DIR})
add_test(NAME structure_streams COMMAND ${CMAKE_CURRENT_LIST_DIR}/check_streams.sh ${PROJECT_SOURCE_DIR})
add_test(NAME structure_matrix_spirv COMMAND ${PROJECT_SOURCE_DIR}/tools/matrix_spirv.sh --digests)
