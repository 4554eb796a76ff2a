# A room of the house is one folder and one static library, retrosim_<room>.

add_library(retrosim_options INTERFACE)
target_include_directories(retrosim_options INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
target_compile_options(
  retrosim_options
  INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
            $<$<BOOL:${RETROSIM_WERROR}>:-Werror>>)
if(RETROSIM_SANITIZE)
  target_compile_options(retrosim_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${RETROSIM_SANITIZE}
                                                    -fno-omit-frame-pointer>)
  target_link_options(retrosim_options INTERFACE -fsanitize=${RETROSIM_SANITIZE})
endif()

# retrosim_room(<name> [LINKS <targets>...] [SOURCES <extra>...]): every .cpp below the room's folder.
function(retrosim_room name)
  cmake_parse_arguments(ROOM "" "" "LINKS;SOURCES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  if(NOT sources)
    add_library(retrosim_${name} INTERFACE)
    target_link_libraries(retrosim_${name} INTERFACE retrosim_options ${ROOM_LINKS})
    return()
  endif()
  add_library(retrosim_${name} STATIC ${sources} ${ROOM_SOURCES})
  target_link_libraries(retrosim_${name} PUBLIC retrosim_options ${ROOM_LINKS})
endfunction()

# retrosim_embed(<target> <symbol> <files>...): compiles the files into `target` as retrosim::embedded::<symbol>(), a table of
# {stem, text}; see cmake/embed.cmake for the generated source.
function(retrosim_embed target symbol)
  set(output ${CMAKE_BINARY_DIR}/generated/embedded_${symbol}.cpp)
  string(REPLACE ";" "|" joined "${ARGN}")
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DSYMBOL=${symbol} "-DFILES=${joined}" -P
            ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    DEPENDS ${ARGN} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
    COMMENT "Embedding ${symbol}"
    VERBATIM)
  target_sources(${target} PRIVATE ${output})
endfunction()
