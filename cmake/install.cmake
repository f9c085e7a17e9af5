# cmake --install build --prefix PREFIX. The program finds share/darkroom beside its own folder, so the prefix can be
# moved. tests/install uses what lands there.
install(TARGETS darkroom_program RUNTIME DESTINATION bin)
install(TARGETS darkroom_shared LIBRARY DESTINATION lib)
install(FILES include/darkroom/darkroom.h DESTINATION include/darkroom)
configure_file(cmake/darkroom.pc.in darkroom.pc @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/darkroom.pc" DESTINATION lib/pkgconfig)
# The models that come with darkroom. Parts that they share are symbolic links, and stay links. The
# tokenizers are in the library.
install(DIRECTORY assets/ DESTINATION share/darkroom OPTIONAL PATTERN tokenizers EXCLUDE)
install(FILES LICENSE THIRD_PARTY.md DESTINATION share/doc/darkroom)

# The program describes itself when it is installed. A cross build without an emulator leaves these files out.
if(NOT CMAKE_CROSSCOMPILING OR CMAKE_CROSSCOMPILING_EMULATOR)
  foreach(entry "man share/man/man1 darkroom.1" "bash share/bash-completion/completions darkroom"
      "zsh share/zsh/site-functions _darkroom")
    separate_arguments(entry)
    list(GET entry 0 form)
    list(GET entry 1 folder)
    list(GET entry 2 name)
    set(made "${CMAKE_BINARY_DIR}/manual/${form}/${name}")
    install(CODE "
      file(MAKE_DIRECTORY \"${CMAKE_BINARY_DIR}/manual/${form}\")
      execute_process(COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} \"$<TARGET_FILE:darkroom_program>\" manual ${form}
        OUTPUT_FILE \"${made}\" RESULT_VARIABLE result)
      if(NOT result EQUAL 0)
        message(WARNING \"${folder}/${name} is left out: the program does not run here (\${result})\")
        file(REMOVE \"${made}\")
      endif()")
    install(FILES "${made}" DESTINATION ${folder} OPTIONAL)
  endforeach()
endif()
